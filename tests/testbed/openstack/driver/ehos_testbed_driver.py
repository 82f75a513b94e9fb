"""Nova virt driver for the testbed: FakeDriver, with a console, snapshots and faults.

Settings: the ini file named by EHOS_TESTBED_CONF. Faults: the JSON file it names,
read at each call; an absent or empty file means none. Keys:

  spawn_fail_every: N     every Nth matching spawn fails (1: all)
  spawn_fail_mode         "reschedule" (default) or "abort"
  spawn_hang_s: S         every matching spawn first sleeps S seconds
  destroy_fail_every: N, destroy_hang_s: S
  console_fail            "error", "notready" or "empty"
  no_final_message: true  the boot never reaches the user-data's final_message
  boot_delay_s: S         overrides the ini's
  snapshot_fail: true, snapshot_hang_s: S
  match: REGEX            only servers whose display name matches (default: all)

A server whose image has the property ehos_machine=true is a real machine instead, when driver.ini
names the command for that: see ehos_testbed_machines.py.
"""
import base64
import configparser
import email
import gzip
import io
import json
import os
import re
import struct
import time

import ehos_testbed_machines
import eventlet
from oslo_log import log as logging
import yaml

from nova.compute import power_state
from nova.compute import task_states
import nova.conf
from nova import exception
from nova.image import glance
from nova.scheduler.client import report
from nova.virt import fake
from nova.virt import hardware
from nova.virt import node

CONF = nova.conf.CONF
LOG = logging.getLogger(__name__)

# Each claim asks Placement for every VM of the host, one by one, to heal PCI allocations. There are none
# here, and with hundreds of VMs on one host it takes seconds a claim.
report.SchedulerReportClient.get_allocations_for_provider_tree = lambda self, context, nodename: {}

# (share of the boot delay, line); {host}, {ip}, {mac}, {date} are filled in.
BOOT = [
    (0.00, '[    0.000000] Linux version 5.14.0-503.el9.x86_64 (gcc version 11.5.0) #1 SMP PREEMPT_DYNAMIC'),
    (0.00, '[    0.000000] Command line: BOOT_IMAGE=(hd0,gpt2)/vmlinuz root=UUID=fake ro console=tty0 console=ttyS0,115200n8'),
    (0.05, '[    0.412207] virtio_blk virtio2: [vda] 20971520 512-byte logical blocks (10.7 GB/10.0 GiB)'),
    (0.10, '[    1.105511] systemd[1]: Detected virtualization kvm.'),
    (0.20, '[    2.731842] systemd[1]: Starting Cloud-init: Local Stage (pre-network)...'),
    (0.30, "[    4.018273] cloud-init[612]: Cloud-init v. 24.4 running 'init-local' at {date}. Up 4.01 seconds."),
    (0.40, "[    6.552190] cloud-init[781]: Cloud-init v. 24.4 running 'init' at {date}. Up 6.54 seconds."),
    (0.40, 'ci-info: +++++++++++++++++++++++++++Net device info+++++++++++++++++++++++++++'),
    (0.40, 'ci-info: | Device |  Up  |    Address     |      Mask     | Scope  |     Hw-Address    |'),
    (0.40, 'ci-info: |  eth0  | True | {ip} | 255.255.240.0 | global | {mac} |'),
    (0.70, "[    9.774005] cloud-init[1043]: Cloud-init v. 24.4 running 'modules:config' at {date}. Up 9.71 seconds."),
    (0.85, "[   11.290641] cloud-init[1105]: Cloud-init v. 24.4 running 'modules:final' at {date}. Up 11.24 seconds."),
    (0.85, 'ci-info: no authorized SSH keys fingerprints found for user cloud-user.'),
]
DEFAULT_FINAL = 'Cloud-init v. $version finished at $timestamp. Datasource $datasource.  Up $uptime seconds'


def final_message(user_data):
    """The final_message of a cloud-config, or cloud-init's own."""
    data = user_data
    if data[:2] == b'\x1f\x8b':
        data = gzip.decompress(data)
    docs = [data]
    head = data[:2000].lower()
    if b'content-type: multipart' in head:
        docs = [p.get_payload(decode=True) or b'' for p in email.message_from_bytes(data).walk()
                if not p.is_multipart()]
    message = DEFAULT_FINAL
    for doc in docs:
        if doc.lstrip().startswith(b'#cloud-config'):
            try:
                conf = yaml.safe_load(doc) or {}
            except yaml.YAMLError as e:
                LOG.warning('user-data is not YAML: %s', e)
                continue
            if isinstance(conf, dict) and conf.get('final_message'):
                message = str(conf['final_message'])
    return message


def tiny_qcow2(virtual_size, payload):
    """A valid, empty qcow2 v3 of 64 KiB clusters, with a payload behind it."""
    cluster = 65536
    l1_entries = max(1, -(-virtual_size // (cluster * cluster // 8)))
    head = struct.pack('>4sIQIIQIIQQIIQQQQII', b'QFI\xfb', 3, 0, 0, 16, virtual_size, 0, l1_entries,
                       3 * cluster, cluster, 1, 0, 0, 0, 0, 0, 4, 104)
    table = struct.pack('>Q', 2 * cluster)
    block = struct.pack('>HHHH', 1, 1, 1, 1)
    pad = lambda b: b + b'\0' * (cluster - len(b))
    return pad(head) + pad(table) + pad(block) + pad(b'') + payload


class EhosTestbedDriver(fake.FakeDriver):

    def __init__(self, virtapi, read_only=False):
        ini = configparser.ConfigParser(interpolation=None)
        ini.read(os.environ['EHOS_TESTBED_CONF'])
        self.ini = ini['driver']
        self.vcpus = self.ini.getint('vcpus', 1000)
        self.memory_mb = self.ini.getint('memory_mb', 800000)
        self.local_gb = self.ini.getint('local_gb', 600000)
        self.state_dir = os.path.join(self.ini['state_dir'], CONF.host)
        self.counts = {}
        self.image_api = glance.API()
        self.machines = ehos_testbed_machines.Machines(self.ini, self.image_api)
        self.real = set()  # UUIDs of servers that are real machines
        super().__init__(virtapi, read_only)

    # -- host

    def init_host(self, host):
        super().init_host(host)
        os.makedirs(self.state_dir, exist_ok=True)
        for name in os.listdir(self.state_dir):
            try:
                vm = self._load(name)
            except (OSError, ValueError):
                continue
            self.instances[name] = fake.FakeInstance(vm['nova_name'], vm['power'], name)
            self.resources.claim(vm['vcpus'], vm['ram'], vm['disk'])
            if vm.get('machine'):
                self.real.add(name)
        if self.machines.command:
            eventlet.spawn(self.machines.watch, self)

    def get_nodenames_by_uuid(self, refresh=False):
        # FakeDriver's node ids are random in each process: a restart would not find its own node.
        return {node.get_local_node_uuid(): self._nodes[0]}

    def get_available_resource(self, nodename):
        return dict(super().get_available_resource(nodename), uuid=node.get_local_node_uuid())

    # -- state, faults

    def _path(self, uuid, name='vm.json'):
        return os.path.join(self.state_dir, uuid, name)

    def _load(self, uuid):
        with open(self._path(uuid)) as f:
            return json.load(f)

    def _save(self, uuid, vm):
        os.makedirs(os.path.dirname(self._path(uuid)), exist_ok=True)
        tmp = self._path(uuid) + '.new'
        with open(tmp, 'w') as f:
            json.dump(vm, f)
        os.replace(tmp, self._path(uuid))

    def _faults(self, instance):
        try:
            with open(self.ini['faults']) as f:
                faults = json.load(f)
        except (OSError, ValueError):
            return {}
        if not re.search(faults.get('match', ''), instance.display_name or ''):
            return {}
        return faults

    def _nth(self, faults, key):
        every = int(faults.get(key) or 0)
        if every <= 0:
            return False
        self.counts[key] = self.counts.get(key, 0) + 1
        return self.counts[key] % every == 0

    # -- life

    def spawn(self, context, instance, image_meta, injected_files, admin_password, allocations,
              network_info=None, block_device_info=None, power_on=True, accel_info=None):
        faults = self._faults(instance)
        if faults.get('spawn_hang_s'):
            time.sleep(float(faults['spawn_hang_s']))
        if self._nth(faults, 'spawn_fail_every'):
            if faults.get('spawn_fail_mode') == 'abort':
                raise exception.BuildAbortException(instance_uuid=instance.uuid, reason='testbed fault')
            raise exception.NovaException('testbed fault: spawn failed')
        super().spawn(context, instance, image_meta, injected_files, admin_password, allocations,
                      network_info, block_device_info, power_on, accel_info)
        user_data = base64.b64decode(instance.user_data) if instance.user_data else b''
        ip, mac = '', ''
        for vif in network_info or []:
            mac = mac or vif['address']
            for fixed in vif.fixed_ips():
                if ':' not in fixed['address']:
                    ip = ip or fixed['address']
        vm = {'name': instance.display_name, 'nova_name': instance.name, 'power': power_state.RUNNING,
              'vcpus': instance.flavor.vcpus, 'ram': instance.flavor.memory_mb, 'disk': instance.flavor.root_gb,
              'ip': ip, 'mac': mac, 'booted': time.time(), 'hostname': instance.hostname,
              'final': final_message(user_data), 'machine': self.machines.wanted(instance)}
        self._save(instance.uuid, vm)
        with open(self._path(instance.uuid, 'user-data'), 'wb') as f:
            f.write(user_data)
        if vm['machine']:
            self.real.add(instance.uuid)
            self.machines.boot(context, instance, vm, os.path.dirname(self._path(instance.uuid)))

    def destroy(self, context, instance, network_info, block_device_info=None, destroy_disks=True,
                destroy_secrets=True):
        faults = self._faults(instance)
        if faults.get('destroy_hang_s'):
            time.sleep(float(faults['destroy_hang_s']))
        if instance.uuid in self.instances:
            if self._nth(faults, 'destroy_fail_every'):
                raise exception.NovaException('testbed fault: destroy failed')
        if instance.uuid in self.real:
            self.machines.destroy(instance.uuid)
            self.real.discard(instance.uuid)
        super().destroy(context, instance, network_info, block_device_info, destroy_disks, destroy_secrets)
        folder = os.path.dirname(self._path(instance.uuid))
        for name in os.listdir(folder) if os.path.isdir(folder) else []:
            os.unlink(os.path.join(folder, name))
        if os.path.isdir(folder):
            os.rmdir(folder)

    def _power(self, instance, state, verb, timeout=0):
        vm = self._load(instance.uuid)
        if instance.uuid in self.real:
            self.machines.power(instance.uuid, verb, timeout)
        if vm['power'] == state and 'reboot' not in verb:
            return
        vm['power'] = state
        if state == power_state.RUNNING:
            vm['booted'] = time.time()
        self._save(instance.uuid, vm)

    def power_off(self, instance, timeout=0, retry_interval=0):
        super().power_off(instance, timeout, retry_interval)
        self._power(instance, power_state.SHUTDOWN, 'poweroff', timeout)

    def power_on(self, context, instance, network_info, block_device_info=None, accel_info=None, share_info=None):
        super().power_on(context, instance, network_info, block_device_info, accel_info, share_info)
        self._power(instance, power_state.RUNNING, 'poweron')

    def soft_delete(self, instance):
        self.power_off(instance)

    def restore(self, instance):
        self.power_on(None, instance, None)

    def reboot(self, context, instance, network_info, reboot_type, block_device_info=None,
               bad_volumes_callback=None, accel_info=None, share_info=None):
        if instance.uuid not in self.instances:
            raise exception.InstanceNotFound(instance_id=instance.uuid)
        self.instances[instance.uuid].state = power_state.RUNNING
        self._power(instance, power_state.RUNNING, 'hard-reboot' if reboot_type == 'HARD' else 'reboot')

    def _pause(self, instance, state, verb):
        if instance.uuid in self.real:
            self.machines.power(instance.uuid, verb)
        self.instances[instance.uuid].state = state

    def pause(self, instance):
        self._pause(instance, power_state.PAUSED, 'pause')

    def unpause(self, instance):
        self._pause(instance, power_state.RUNNING, 'unpause')

    def suspend(self, context, instance):
        self._pause(instance, power_state.SUSPENDED, 'pause')

    def resume(self, context, instance, network_info, block_device_info=None, share_info=None):
        self._pause(instance, power_state.RUNNING, 'unpause')

    def get_info(self, instance, use_cache=True):
        info = super().get_info(instance, use_cache)
        if instance.uuid in self.real and self.machines.state(instance.uuid) == power_state.SHUTDOWN:
            info = hardware.InstanceInfo(state=power_state.SHUTDOWN)
        return info

    # -- console and snapshot

    def get_console_output(self, context, instance):
        faults = self._faults(instance)
        fail = faults.get('console_fail')
        if fail == 'notready':
            raise exception.InstanceNotReady(instance_id=instance.uuid)
        if fail == 'empty':
            return ''
        if fail:
            raise exception.NovaException('testbed fault: console failed')
        if instance.uuid in self.real:
            return self.machines.console(instance.uuid)
        try:
            vm = self._load(instance.uuid)
        except OSError:
            raise exception.InstanceNotFound(instance_id=instance.uuid)
        delay = float(faults.get('boot_delay_s', self.ini.getfloat('boot_delay_s', 3)))
        passed = time.time() - vm['booted']
        stamp = time.strftime('%a, %d %b %Y %H:%M:%S +0000', time.gmtime(vm['booted']))
        lines = [line.format(host=vm['hostname'], ip=vm['ip'], mac=vm['mac'], date=stamp)
                 for share, line in BOOT if passed >= share * delay]
        if passed >= delay and not faults.get('no_final_message'):
            values = {'uptime': '%.2f' % (12 + delay), 'timestamp': stamp, 'version': '24.4',
                      'datasource': 'DataSourceOpenStackLocal [net,ver=2]'}
            text = vm['final']
            for key, value in values.items():
                text = text.replace('$' + key.upper(), value).replace('$' + key, value)
            lines += ['[   %9.6f] cloud-init[1105]: %s' % (12 + delay, x) for x in text.splitlines()]
            lines += ['', 'CentOS Stream 9', 'Kernel 5.14.0-503.el9.x86_64 on an x86_64', '',
                      '%s login: ' % vm['hostname']]
        return '\r\n'.join(lines).encode()

    def snapshot(self, context, instance, image_id, update_task_state):
        if instance.uuid not in self.instances:
            raise exception.InstanceNotRunning(instance_id=instance.uuid)
        faults = self._faults(instance)
        update_task_state(task_state=task_states.IMAGE_PENDING_UPLOAD)
        if instance.uuid not in self.real:
            update_task_state(task_state=task_states.IMAGE_UPLOADING,
                              expected_state=task_states.IMAGE_PENDING_UPLOAD)
        if faults.get('snapshot_hang_s'):
            time.sleep(float(faults['snapshot_hang_s']))
        if faults.get('snapshot_fail'):
            raise exception.NovaException('testbed fault: snapshot failed')
        if instance.uuid in self.real:
            return self.machines.snapshot(context, instance, image_id, update_task_state)
        image = self.image_api.get(context, image_id)
        metadata = {'status': 'active', 'name': image['name'], 'disk_format': 'qcow2', 'container_format': 'bare',
                    'properties': {'image_location': 'snapshot', 'image_state': 'available',
                                   'owner_id': instance.project_id}}
        data = tiny_qcow2(max(1, instance.flavor.root_gb) << 30, instance.uuid.encode())
        self.image_api.update(context, image_id, metadata, io.BytesIO(data), purge_props=False)
