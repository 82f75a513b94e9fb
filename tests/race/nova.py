"""A client of Keystone and Nova in the standard library, for host and central manager.

The cloud's access is a dict: auth_url, username, password, project_name, user_domain_name, project_domain_name.
"""
import base64
import json
import urllib.error
import urllib.request

TIMEOUT = 60


class Nova:
    """Nova of one project. The token is renewed when the service refuses it."""

    def __init__(self, auth):
        self.auth = auth
        self.login()

    def login(self):
        auth = self.auth
        user = {"name": auth["username"], "password": auth["password"],
                "domain": {"name": auth["user_domain_name"]}}
        project = {"name": auth["project_name"], "domain": {"name": auth["project_domain_name"]}}
        body = {"auth": {"identity": {"methods": ["password"], "password": {"user": user}}, "scope": {"project": project}}}
        request = urllib.request.Request(auth["auth_url"] + "/auth/tokens", json.dumps(body).encode(),
                                         {"Content-Type": "application/json"})
        with urllib.request.urlopen(request, timeout=TIMEOUT) as answer:
            self.token = answer.headers["X-Subject-Token"]
            catalog = json.load(answer)["token"]["catalog"]
        compute = next(service for service in catalog if service["type"] == "compute")
        self.url = next(end["url"] for end in compute["endpoints"] if end["interface"] == "public")

    def call(self, method, path, body=None):
        """The answer's JSON, or None without a body."""
        for last in (False, True):
            request = urllib.request.Request(self.url + path, None if body is None else json.dumps(body).encode(),
                                             {"Content-Type": "application/json", "X-Auth-Token": self.token}, method=method)
            try:
                with urllib.request.urlopen(request, timeout=TIMEOUT) as answer:
                    text = answer.read()
                    return json.loads(text) if text else None
            except urllib.error.HTTPError as error:
                if error.code != 401 or last:
                    raise
                self.login()

    def servers(self):
        """All servers of the project, of all pages."""
        servers, marker = [], ""
        while True:
            page = self.call("GET", "/servers/detail" + (f"?marker={marker}" if marker else ""))
            servers += page["servers"]
            if not page["servers"] or not page.get("servers_links"):
                return servers
            marker = page["servers"][-1]["id"]

    def create(self, name, flavor, image, network, user_data, groups):
        server = {"name": name, "flavorRef": flavor, "imageRef": image, "networks": [{"uuid": network}],
                  "security_groups": [{"name": group} for group in groups],
                  "user_data": base64.b64encode(user_data.encode()).decode()}
        return self.call("POST", "/servers", {"server": server})["server"]["id"]

    def delete(self, server):
        """Deletes the server; one that is gone is no error."""
        try:
            self.call("DELETE", "/servers/" + server)
        except urllib.error.HTTPError as error:
            if error.code != 404:
                raise
