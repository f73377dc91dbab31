"""What control groups of both versions allow, read from folders like theirs."""

import pytest
from comfyui_wegen.models.checkpoints import doctor
from comfyui_wegen.models.container_memory import ContainerMemory, container_memory

GB = 10**9


def write_group(folder, **values) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, value in values.items():
        (folder / f"memory.{name}").write_text(f"{value}\n", encoding="utf-8")


@pytest.fixture
def limits(tmp_path):
    """Gives what is allowed, by what `/proc/self/cgroup` says."""

    def read(groups: str) -> ContainerMemory | None:
        (tmp_path / "cgroup").write_text(groups, encoding="utf-8")
        return container_memory(tmp_path / "cgroup", tmp_path / "sys")

    return read


def write_second(folder, limit, used, cached=0, shared=0, **swap) -> None:
    stat = f"anon 7\nfile {cached}\nshmem {shared}"
    write_group(folder, max=limit, current=used, stat=stat, **{f"swap.{name}": value for name, value in swap.items()})


def test_a_container_of_the_second_version_sees_its_own_group_at_the_top(limits, tmp_path):
    write_second(tmp_path / "sys", 16 * GB, 12 * GB, cached=5 * GB, shared=GB, max=2 * GB, current=GB)
    assert limits("0::/\n") == ContainerMemory(16 * GB, 8 * GB, GB)
    assert limits("0::/../..\n") == ContainerMemory(16 * GB, 8 * GB, GB)


def test_the_least_of_all_groups_counts(limits, tmp_path):
    write_second(tmp_path / "sys/user.slice", 8 * GB, 6 * GB)
    write_second(tmp_path / "sys/user.slice/comfy.service", 6 * GB, GB, max="max", current=0)
    assert limits("0::/user.slice/comfy.service\n") == ContainerMemory(6 * GB, 2 * GB, None)
    write_second(tmp_path / "sys/user.slice/comfy.service", "max", GB)
    assert limits("0::/user.slice/comfy.service\n") == ContainerMemory(8 * GB, 2 * GB, None)


def test_a_container_of_the_first_version(limits, tmp_path):
    stat = f"cache 1\ntotal_cache {3 * GB}\ntotal_shmem {GB}"
    write_group(tmp_path / "sys/memory", limit_in_bytes=10 * GB, usage_in_bytes=9 * GB, stat=stat)
    groups = "9:name=systemd:/\n4:cpu,memory:/docker/0123\n0::/\n"
    assert limits(groups) == ContainerMemory(10 * GB, 3 * GB, None)
    write_group(tmp_path / "sys/memory", limit_in_bytes=2**63 - 4096)
    assert limits(groups) is None


def test_without_groups_nothing_is_limited(limits, tmp_path):
    assert limits("0::/\n") is None and limits("") is None
    assert container_memory(tmp_path / "none", tmp_path / "sys") is None


def test_the_doctor_counts_with_what_the_container_allows(monkeypatch):
    monkeypatch.setattr(doctor, "container_memory", lambda: ContainerMemory(3 * 2**30, 2**30, None))
    assert doctor.machine().memory == 3
