"""Servers as real machines: containers with systemd and cloud-init, run by the `machine` command on the host.

Used by ehos_testbed_driver for servers whose image has the property ehos_machine=true, when driver.ini
names the command. The command runs on the host: `up` hands its / down as a file descriptor.
"""
import contextlib
import json
import os
import re
import subprocess
import tempfile
import time

from oslo_concurrency import lockutils
from oslo_log import log as logging

from nova.compute import power_state
from nova.compute import task_states
from nova import exception
from nova.virt import event as virtevent

LOG = logging.getLogger(__name__)
CONSOLE_BYTES = 100 * 1024  # as libvirt's driver


class Machines:

    def __init__(self, ini, image_api):
        self.command = ini.get('machine', '').strip()
        self.folder = ini.get('machine_dir', '').strip()
        self.root = ini.getint('root_fd', -1)
        self.prefix = ini.get('host_prefix', '')
        self.state_dir = ini['state_dir']
        self.image_api = image_api
        self.busy = set()  # UUIDs that Nova itself is switching: not news

    def wanted(self, instance):
        """Image properties that Nova does not know are only in the system metadata."""
        return bool(self.command) and instance.system_metadata.get('image_ehos_machine', '').lower() == 'true'

    def run(self, *args, env=None, check=True):
        def to_host():
            if self.root >= 0:
                os.fchdir(self.root)
                os.chroot('.')
        env = dict(env or {}, PATH='/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin', HOME='/root',
                   LANG='C.UTF-8', TESTBED_DIR=self.folder)
        with tempfile.TemporaryFile() as f:
            rc = subprocess.Popen([self.command, *map(str, args)], env=env, preexec_fn=to_host, stdin=subprocess.DEVNULL,
                                  stdout=f, stderr=f, start_new_session=True).wait(600)
            f.seek(0)
            words = f.read(2000).decode(errors='replace').strip()
        if rc and check:
            LOG.error('machine %s: %s: %s', args, rc, words)
            uuid = next((a for a in args if re.fullmatch('[0-9a-f-]{36}', str(a))), '')
            raise exception.BuildAbortException(instance_uuid=uuid, reason=words or 'machine failed')
        return rc

    @contextlib.contextmanager
    def switching(self, uuid):
        self.busy.add(uuid)
        try:
            yield
        finally:
            self.busy.discard(uuid)

    def _file(self, uuid, name):
        """A file of the machine's folder on the host."""
        path = os.path.join(self.folder, 'machines', uuid, name)
        if self.root < 0:
            return open(path, 'rb')
        return os.fdopen(os.open(path.lstrip('/'), os.O_RDONLY, dir_fd=self.root), 'rb')

    def state(self, uuid):
        """The power state, seen without a process of its own: None when there is no machine."""
        try:
            with self._file(uuid, 'conf'):
                pass
            with self._file(uuid, 'supervisor.pid') as f:
                pid, start = f.read().decode().split()
            with open('/proc/%s/stat' % pid) as f:
                stat = f.read().rpartition(')')[2].split()
            if stat[0] != 'Z' and stat[19] == start:
                return power_state.RUNNING
        except FileNotFoundError as e:
            if str(e.filename).endswith('/conf'):
                return None
        except (OSError, ValueError):
            pass
        return power_state.SHUTDOWN

    def boot(self, context, instance, vm, folder):
        image = str(instance.image_ref)
        with lockutils.lock('machine-image-' + image):
            if self.run('has-image', image, check=False):
                path = os.path.join(self.state_dir, image + '.image')
                self.image_api.download(context, image, dest_path=path)
                try:
                    self.run('image', image, self.prefix + path)
                finally:
                    os.unlink(path)
        facts = {'name': instance.display_name, 'meta': dict(instance.metadata), 'project_id': instance.project_id,
                 'availability_zone': instance.availability_zone or 'nova', 'flavor': instance.flavor.name,
                 'public_keys': {instance.key_name: instance.key_data.strip()} if instance.key_data else {}}
        with open(os.path.join(folder, 'machine.json'), 'w') as f:
            json.dump(facts, f)
        with self.switching(instance.uuid):
            self.run('boot', instance.hostname, instance.uuid, image, self.prefix + os.path.join(folder, 'user-data'),
                     vm['ip'], vm['vcpus'], vm['ram'],
                     env={'MACHINE_JSON': self.prefix + os.path.join(folder, 'machine.json'), 'MACHINE_MAC': vm['mac']})

    def power(self, uuid, verb, timeout=0):
        with self.switching(uuid):
            self.run(*{'poweroff': ['stop', uuid, timeout or 1], 'poweron': ['start', uuid], 'reboot': ['reboot', uuid],
                       'hard-reboot': ['reboot', uuid, '--hard'], 'pause': ['pause', uuid], 'unpause': ['unpause', uuid]}[verb])

    def destroy(self, uuid):
        with self.switching(uuid):
            if self.state(uuid) is not None:
                self.run('destroy', uuid)

    def console(self, uuid):
        try:
            with self._file(uuid, 'console.log') as f:
                size = f.seek(0, os.SEEK_END)
                f.seek(max(0, size - CONSOLE_BYTES))
                return f.read()
        except FileNotFoundError:
            raise exception.InstanceNotFound(instance_id=uuid)

    def snapshot(self, context, instance, image_id, update_task_state):
        path = os.path.join(self.state_dir, image_id + '.snapshot')
        image = self.image_api.get(context, image_id)
        try:
            self.run('snapshot', instance.uuid, self.prefix + path)
            update_task_state(task_state=task_states.IMAGE_UPLOADING, expected_state=task_states.IMAGE_PENDING_UPLOAD)
            metadata = {'status': 'active', 'name': image['name'], 'disk_format': 'raw', 'container_format': 'bare',
                        'properties': {'image_location': 'snapshot', 'image_state': 'available',
                                       'owner_id': instance.project_id, 'ehos_machine': 'true'}}
            with open(path, 'rb') as f:
                self.image_api.update(context, image_id, metadata, f, purge_props=False)
        finally:
            if os.path.exists(path):
                os.unlink(path)

    def watch(self, driver):
        """Tells Nova, as libvirt's driver does, of a machine that went off (or on) by itself."""
        while True:
            time.sleep(2)
            for uuid, instance in list(driver.instances.items()):
                if uuid not in driver.real or uuid in self.busy:
                    continue
                now = self.state(uuid)
                off = instance.state == power_state.SHUTDOWN
                if now == power_state.SHUTDOWN and not off:
                    kind = virtevent.EVENT_LIFECYCLE_STOPPED
                elif now == power_state.RUNNING and off:
                    kind = virtevent.EVENT_LIFECYCLE_STARTED
                else:
                    continue
                instance.state = now
                driver.emit_event(virtevent.LifecycleEvent(uuid, kind))
