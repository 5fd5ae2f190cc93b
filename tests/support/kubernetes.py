"""A real Kubernetes for tests, of the programs in ``KUBERNETES_BIN``, with or without a node."""

import asyncio
import json
import os
import shutil
import signal
import subprocess
from collections.abc import AsyncGenerator, Generator, Sequence
from contextlib import ExitStack, asynccontextmanager, contextmanager
from pathlib import Path

import pytest

from pipelines.errors import Retryable, UserError
from pipelines.integrations.containers.kubernetes_api import KubernetesApi
from tests.support.daemon import free_port

BINARIES = f"{os.environ.get('KUBERNETES_BIN', '')}:{os.environ.get('PATH', '')}:/usr/sbin"
SERVER = ("etcd", "kube-apiserver", "kube-controller-manager", "openssl")
NODE = ("kubelet", "kube-scheduler", "runc", "jq", "nsenter", "ip")
_CONFIG = """
apiVersion: v1
kind: Config
clusters:
- {{name: c, cluster: {{server: "https://127.0.0.1:{port}", insecure-skip-tls-verify: true}}}}
users: [{{name: u, user: {{token: {token}}}}}]
contexts: [{{name: x, context: {{cluster: c, user: u}}}}]
current-context: x
"""
_KUBELET = """
apiVersion: kubelet.config.k8s.io/v1beta1
kind: KubeletConfiguration
address: 127.0.0.1
port: {port}
healthzPort: 0
readOnlyPort: 0
failSwapOn: false
cgroupDriver: cgroupfs
cgroupsPerQOS: false
enforceNodeAllocatable: []
makeIPTablesUtilChains: false
protectKernelDefaults: false
syncFrequency: 1s
authentication: {{anonymous: {{enabled: true}}, webhook: {{enabled: false}}}}
authorization: {{mode: AlwaysAllow}}
evictionHard: {{memory.available: "1Mi"}}
imageGCHighThresholdPercent: 100
"""
# Pods ask for a lower oom_score_adj than a machine without CAP_SYS_RESOURCE may give.
_RUNTIME = """#!/bin/sh
bundle= previous=
for word; do [ "$previous" = --bundle ] && bundle=$word; previous=$word; done
if [ -n "$bundle" ]; then
  made=$({jq} 'if (.process.oomScoreAdj // 0) < 0 then del(.process.oomScoreAdj) else . end
    | del(.process.rlimits)' "$bundle/config.json") && printf %s "$made" >"$bundle/config.json"
fi
exec {runc} "$@"
"""
# A network in which a pod has an address and no way out, as behind a policy that denies everything.
_NETWORK = """#!/bin/sh
case "${{0##*/}} $CNI_COMMAND" in
  *" VERSION") echo '{{"cniVersion": "0.3.1", "supportedVersions": ["0.2.0", "0.3.1"]}}'; exit ;;
  "closed ADD") {nsenter} --net="$CNI_NETNS" sh -c 'ip link add eth0 type veth peer name away &&
    ip address add 10.251.0.2/32 dev eth0 && ip link set eth0 up' >&2 || exit 1 ;;
esac
echo '{{"cniVersion": "0.2.0", "ip4": {{"ip": "10.251.0.2/32"}}}}'
"""
_SYSCTLS = ("vm/overcommit_memory", "vm/panic_on_oom", "kernel/panic", "kernel/panic_on_oops")
"""What kubelet sets on its machine."""


def program(name: str) -> str:
    """Where a program is; skips without it."""
    found = shutil.which(name, path=BINARIES)
    if found is None:
        pytest.skip(
            f"a Kubernetes of our own needs {', '.join(SERVER + NODE)}: no {name} here; "
            "set KUBERNETES_BIN"
        )
    return found


def start(stack: ExitStack, folder: Path, name: str, *arguments: str) -> None:
    """Run a server until the stack is closed; its output is in a file of its name."""
    log = stack.enter_context((folder / f"{name}.log").open("wb"))
    process = subprocess.Popen([program(name), *arguments], cwd=folder, stdout=log, stderr=log)
    stack.callback(_ended, process)


def _ended(process: "subprocess.Popen[bytes]") -> None:
    process.send_signal(signal.SIGTERM)
    try:
        process.wait(30)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait(30)


@contextmanager
def api_server(
    folder: Path, controllers: Sequence[str] = ("deployment", "replicaset")
) -> Generator[Path]:
    """An API server and its controllers; yields a kubeconfig. Without a node pods stay pending."""
    for name in SERVER:
        program(name)
    key, token = folder / "sa.key", "token-of-the-test"
    subprocess.run(
        [program("openssl"), "genrsa", "-out", key, "2048"], check=True, capture_output=True
    )
    (folder / "tokens.csv").write_text(f"{token},admin,1,system:masters\n")
    store, peer, port = (free_port() for _ in range(3))
    config = folder / "kubeconfig"
    config.write_text(_CONFIG.format(port=port, token=token))
    with ExitStack() as stack:
        start(
            stack, folder, "etcd", "--data-dir", "data",
            "--listen-client-urls", f"http://127.0.0.1:{store}",
            "--advertise-client-urls", f"http://127.0.0.1:{store}",
            "--listen-peer-urls", f"http://127.0.0.1:{peer}",
            "--initial-advertise-peer-urls", f"http://127.0.0.1:{peer}",
            "--initial-cluster", f"default=http://127.0.0.1:{peer}",
        )  # fmt: skip
        start(
            stack, folder, "kube-apiserver", f"--etcd-servers=http://127.0.0.1:{store}",
            "--bind-address=127.0.0.1", "--advertise-address=127.0.0.1", f"--secure-port={port}",
            "--cert-dir=certs", f"--service-account-key-file={key}",
            f"--service-account-signing-key-file={key}", "--api-audiences=api",
            "--service-account-issuer=https://kubernetes.default.svc",
            "--token-auth-file=tokens.csv", "--authorization-mode=RBAC",
            "--service-cluster-ip-range=10.250.0.0/24",
            "--disable-admission-plugins=ServiceAccount", "--endpoint-reconciler-type=none",
            "--kubelet-preferred-address-types=Hostname",
        )  # fmt: skip
        start(
            stack, folder, "kube-controller-manager", f"--kubeconfig={config}",
            "--leader-elect=false", "--port=0", "--secure-port=0", "--bind-address=127.0.0.1",
            f"--controllers={','.join(controllers)}",
        )  # fmt: skip
        yield config


def runtime_flags(folder: Path) -> list[str]:
    """What a Docker engine needs to be told so that kubelet can run pods on it."""
    wrapper = folder / "runc-for-pods"
    wrapper.write_text(_RUNTIME.format(jq=program("jq"), runc=program("runc")))
    wrapper.chmod(0o755)
    return ["--add-runtime", f"pods={wrapper}", "--default-runtime", "pods"]


@contextmanager
def node(folder: Path, kubeconfig: Path, engine: str, pause: str) -> Generator[None]:
    """A scheduler, and this machine as a node with the engine; pods reach nothing."""
    plugins = _network(folder)
    (folder / "kubelet.yaml").write_text(_KUBELET.format(port=free_port()))
    for name in NODE:
        program(name)
    settings = {path: path.read_text() for path in (Path("/proc/sys", s) for s in _SYSCTLS)}
    with ExitStack() as stack:
        stack.callback(_unmount, folder)
        stack.callback(lambda: [path.write_text(text) for path, text in settings.items()])
        start(
            stack, folder, "kube-scheduler", f"--kubeconfig={kubeconfig}", "--leader-elect=false",
            "--port=0", "--secure-port=0", "--bind-address=127.0.0.1",
        )  # fmt: skip
        start(
            stack, folder, "kubelet", "--config=kubelet.yaml", f"--kubeconfig={kubeconfig}",
            "--container-runtime=docker", f"--docker-endpoint={engine}",
            f"--pod-infra-container-image={pause}", "--hostname-override=localhost",
            f"--root-dir={folder / 'kubelet'}", f"--cert-dir={folder / 'kubelet-certs'}",
            "--network-plugin=cni", f"--cni-conf-dir={plugins}", f"--cni-bin-dir={plugins}",
            f"--cni-cache-dir={plugins / 'cache'}",
        )  # fmt: skip
        yield


def _unmount(folder: Path) -> None:
    """Take away what pods had in memory, in case one of them was still there."""
    mounts = [line.split()[1] for line in Path("/proc/self/mounts").read_text().splitlines()]
    for mount in reversed([each for each in mounts if each.startswith(f"{folder}/kubelet")]):
        subprocess.run(["umount", "--lazy", mount], check=False)


def _network(folder: Path) -> Path:
    plugins = folder / "network"
    plugins.mkdir()
    for name in ("closed", "loopback"):
        (plugins / name).write_text(_NETWORK.format(nsenter=program("nsenter")))
        (plugins / name).chmod(0o755)
    settings = {"cniVersion": "0.2.0", "name": "closed", "type": "closed"}
    (plugins / "closed.conf").write_text(json.dumps(settings))
    return plugins


@asynccontextmanager
async def connected(kubeconfig: Path) -> AsyncGenerator[KubernetesApi]:
    """A connection to an API server that is up."""
    made = KubernetesApi(kubeconfig=kubeconfig)
    try:
        async with asyncio.timeout(60):
            while True:
                try:
                    if await made.get("/api/v1/namespaces/default"):
                        break
                except (Retryable, UserError):
                    await asyncio.sleep(0.2)
        yield made
    finally:
        await made.close()
