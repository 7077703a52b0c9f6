"""Where control groups can be made, on hosts with one hierarchy, with one for each controller, and with none."""

from pathlib import Path

import pytest

from peft_assay.sandbox import cgroups, strain
from peft_assay.sandbox.cgroups import Counters, Room, find_place, find_room
from peft_assay.sandbox.strain import shown

V1 = """\
30 25 0:26 / {root}/memory rw,nosuid - cgroup cgroup rw,memory
31 25 0:27 / {root}/pids rw,nosuid - cgroup cgroup rw,pids
32 25 0:28 / {root}/cpu rw,nosuid - cgroup cgroup rw,cpu,cpuacct
33 25 0:29 / {root}/freezer rw,nosuid - cgroup cgroup rw,freezer
"""
V2 = "30 25 0:26 {shown} {root} rw,nosuid shared:4 - cgroup2 cgroup2 rw,nsdelegate\n"
OTHER = "22 1 254:0 / / rw,relatime - ext4 /dev/vda rw\n"


@pytest.fixture
def candidates(tmp_path):
    """The places that `mountinfo` and `cgroup` (proc(5)) lead to, whether or not groups can be made there."""

    def find(mountinfo, cgroup):
        mounts = list(cgroups._mounts(OTHER + mountinfo.format(root=tmp_path, shown="/")))
        return list(cgroups._candidates(mounts, dict(cgroups._memberships(cgroup))))

    return find


def enable(folder: Path, controllers: str) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "cgroup.subtree_control").write_text(controllers)


def test_one_hierarchy_is_searched_upwards_for_a_group_that_may_have_bounded_children(candidates, tmp_path):
    enable(tmp_path, "cpu memory pids")
    enable(tmp_path / "user.slice", "memory pids")
    enable(tmp_path / "user.slice" / "own", "")
    found = candidates(V2, "0::/user.slice/own\n")
    assert [place.version for place in found] == [2, 2]
    assert found[0].parents == dict.fromkeys(("memory", "pids"), tmp_path / "user.slice")
    assert found[1].parents == dict.fromkeys(("memory", "pids", "cpu"), tmp_path)


def test_one_hierarchy_without_the_controllers_that_count_is_no_place(candidates, tmp_path):
    enable(tmp_path, "hugetlb")
    assert candidates(V2, "0::/\n") == []


def test_a_hierarchy_for_each_controller(candidates, tmp_path):
    (place,) = candidates(V1, "4:cpu,cpuacct:/a\n3:pids:/b\n2:memory:/c\n1:name=systemd:/\n0::/\n")
    assert place.version == 1
    assert place.parents == {"memory": tmp_path / "memory/c", "pids": tmp_path / "pids/b", "cpu": tmp_path / "cpu/a"}
    assert place.describe() == {"version": 1, "controllers": ["cpu", "memory", "pids"]}


def test_a_hierarchy_for_some_controllers_is_no_place(candidates):
    assert candidates(V1.splitlines(keepends=True)[0], "2:memory:/\n") == []


def test_a_group_outside_of_what_the_mount_shows_is_no_place(candidates, tmp_path):
    enable(tmp_path, "memory pids")
    for cgroup in ("0::/../outside\n", "0::/..\n", ""):
        assert candidates(V2, cgroup) == []


def test_no_hierarchy_and_unreadable_proc_are_no_place(tmp_path):
    assert find_place(tmp_path) is None
    (tmp_path / "mountinfo").write_text(OTHER)
    (tmp_path / "cgroup").write_text("0::/\n")
    assert find_place(tmp_path) is None


@pytest.mark.parametrize(
    ("counters", "bites"),
    [
        (Counters(1, 1, 1), {"memory": True, "processes": True, "cpu": True}),
        (Counters(0, 1, 1), {"memory": False, "processes": True, "cpu": True}),
        (Counters(1, 0, 0), {"memory": True, "processes": False, "cpu": False}),
    ],
)
def test_a_bound_holds_only_where_the_kernel_counted_that_it_did(counters, bites):
    place = cgroups.Place(1, dict.fromkeys(("memory", "pids", "cpu"), Path("/")))
    assert shown(counters, place) == bites
    without_cpu = cgroups.Place(1, dict.fromkeys(("memory", "pids"), Path("/")))
    assert shown(counters, without_cpu) == {name: bit for name, bit in bites.items() if name != "cpu"}


@pytest.mark.parametrize(
    ("bounds", "problem"),
    [
        ({"memory": True, "processes": True, "cpu": False}, None),  # a busy host leaves nobody time to exceed a quota
        ({"memory": False, "processes": True, "cpu": True}, "these bounds did not hold: memory"),
        ({"memory": False, "processes": False}, "these bounds did not hold: memory, processes"),
    ],
)
def test_a_group_is_used_where_memory_and_processes_were_seen_to_be_bounded(bounds, problem, monkeypatch):
    monkeypatch.setattr(strain, "try_bounds", lambda *_: bounds)
    assert strain.try_place(*[None] * 5) == (bounds, problem)


def group(folder, **files):
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        (folder / name.replace("__", ".")).write_text(f"{content}\n")


def room(tmp_path, mountinfo, cgroup):
    process = tmp_path / "proc"
    process.mkdir()
    (process / "mountinfo").write_text(OTHER + mountinfo.format(root=tmp_path, shown="/"))
    (process / "cgroup").write_text(cgroup)
    return find_room(process)


def test_the_tightest_of_all_groups_is_what_they_leave(tmp_path):
    group(tmp_path / "pod", memory__max=1000, memory__current=700, memory__stat="anon 1\ninactive_file 200")
    group(tmp_path / "pod" / "own", memory__max=900, memory__current=100, memory__stat="inactive_file 0")
    group(tmp_path / "pod" / "own", cpu__max="max 100000")
    group(tmp_path / "pod", cpu__max="150000 100000")
    assert room(tmp_path, V2, "0::/pod/own\n") == Room(500, 1.5)


def test_bounds_of_a_hierarchy_for_each_controller(tmp_path):
    stat = "total_inactive_file 10"
    bound = {"memory__limit_in_bytes": 100, "memory__usage_in_bytes": 60, "memory__stat": stat}
    group(tmp_path / "memory" / "c", **bound)
    group(tmp_path / "cpu" / "a", cpu__cfs_quota_us=200000, cpu__cfs_period_us=100000)
    group(tmp_path / "cpu", cpu__cfs_quota_us=-1, cpu__cfs_period_us=100000)
    assert room(tmp_path, V1, "4:cpu,cpuacct:/a\n3:pids:/b\n2:memory:/c\n0::/\n") == Room(50, 2.0)


@pytest.mark.parametrize(
    "files",
    [
        {"memory__max": "max", "memory__current": 1, "memory__stat": "inactive_file 0", "cpu__max": "max 100000"},
        {"memory__max": "plenty", "memory__current": 1, "memory__stat": "inactive_file 0", "cpu__max": "some"},
        {"memory__max": 5, "cpu__max": "100 0"},
        {},
    ],
)
def test_what_bounds_nothing_or_cannot_be_read_leaves_the_host(files, tmp_path):
    group(tmp_path / "own", **files)
    assert room(tmp_path, V2, "0::/own\n") == Room(None, None)


def test_nothing_is_left_of_a_bound_that_is_used_up(tmp_path):
    group(tmp_path / "own", memory__max=5, memory__current=9, memory__stat="inactive_file 1")
    assert room(tmp_path, V2, "0::/own\n") == Room(0, None)
