using System.Globalization;
using System.Text.Json.Nodes;
using AllocTools.Interop;
using AllocTools.Validation;

namespace AllocTools.Doctor.Checks;

/// <summary>Checks whether processes may copy each other's memory: Yama's ptrace_scope, and filters of system calls.</summary>
internal sealed class KernelCopiesCheck() : Check("ptrace")
{
    public override IEnumerable<Finding> Run(Examination examination)
    {
        long? scope = examination.Machine.ReadNumber("/proc/sys/kernel/yama/ptrace_scope");
        bool may = examination.Machine.MayCopyMemory();
        bool isAllowed = KernelCopies.AllowedByYama(scope ?? 0, examination.Machine.Rights);
        var facts = new JsonObject { ["ptraceScope"] = scope, ["copies"] = may && isAllowed };
        if (!isAllowed)
        {
            yield return Warn(
                $"kernel.yama.ptrace_scope is {scope}: processes may not copy each other's memory, so shm copies twice, by 16 MiB of /dev/shm for each endpoint",
                examination.Surroundings.Container is null ? "Set it to 0 where shm has to be fast: `sysctl kernel.yama.ptrace_scope=0` as root" : "Set it to 0 on the container's host where shm has to be fast: `sysctl kernel.yama.ptrace_scope=0` as root", facts);
        }
        else if (!may)
        {
            yield return Warn("A filter of system calls forbids process_vm_readv: shm copies twice, by 16 MiB of /dev/shm for each endpoint", "Start the container with `--cap-add SYS_PTRACE`, or a seccomp profile that allows process_vm_readv and process_vm_writev", facts);
        }
        else
        {
            yield return Ok($"Processes of one user may copy each other's memory ({(scope is null ? "no Yama" : scope == 0 ? "ptrace_scope 0" : $"ptrace_scope {scope}, which CAP_SYS_PTRACE lifts")})", facts);
        }
    }
}

/// <summary>Checks vm.max_map_count: each slab, and each thread's stack, is a mapping.</summary>
internal sealed class MapCountCheck() : Check("max_map_count")
{
    private const long Usual = 65530;

    public override IEnumerable<Finding> Run(Examination examination)
    {
        if (examination.Machine.ReadNumber("/proc/sys/vm/max_map_count") is not { } most)
        {
            yield return Absent("vm.max_map_count is not there");
            yield break;
        }
        long slabs = examination.Settings?.Pool is { } pool ? examination.Settings.SlabsAt(pool.MaxRegisteredBytes) : 0;
        var facts = new JsonObject { ["maxMapCount"] = most, ["slabsAtCap"] = slabs };
        if (slabs > most / 2)
            yield return Fail($"vm.max_map_count is {InWords.Number(most)}, and the pool has about {InWords.Number(slabs)} slabs at its cap, a mapping each", "Raise MaxSlabBytes, or `sysctl vm.max_map_count=1048576` as root", facts);
        else if (most < Usual)
            yield return Warn($"vm.max_map_count is {InWords.Number(most)}, less than the kernel's default of {InWords.Number(Usual)}", $"Raise it: `sysctl vm.max_map_count={Usual}` as root", facts);
        else
            yield return Ok($"vm.max_map_count is {InWords.Number(most)}", facts);
    }
}

/// <summary>Checks vm.overcommit_memory: with 2 the kernel counts mapped memory, whether it is backed or not.</summary>
internal sealed class OvercommitCheck() : Check("overcommit")
{
    public override IEnumerable<Finding> Run(Examination examination)
    {
        Machine machine = examination.Machine;
        if (machine.ReadNumber("/proc/sys/vm/overcommit_memory") is not { } mode)
        {
            yield return Absent("vm.overcommit_memory is not there");
            yield break;
        }
        var facts = new JsonObject { ["mode"] = mode };
        if (mode != 2)
        {
            yield return Ok($"vm.overcommit_memory is {mode}", facts);
            yield break;
        }
        long left = (machine.MemoryInfo("CommitLimit") ?? 0) - (machine.MemoryInfo("Committed_AS") ?? 0);
        long cap = examination.DefaultCap;
        facts["leftBytes"] = left;
        yield return cap > left && examination.Settings?.Pool is null
            ? Warn($"vm.overcommit_memory is 2, and {InWords.About(Math.Max(0, left))} may still be mapped: less than a pool of {InWords.Bytes(cap)} would need", "Set MaxRegisteredBytes of the pool accordingly, or raise vm.overcommit_ratio as root", facts)
            : cap > left ? Fail($"vm.overcommit_memory is 2, and {InWords.About(Math.Max(0, left))} may still be mapped: less than the pool's cap of {InWords.Bytes(cap)}", "Lower MaxRegisteredBytes, or raise vm.overcommit_ratio as root", facts)
            : Ok($"vm.overcommit_memory is 2; {InWords.About(left)} may still be mapped", facts);
    }
}

/// <summary>Checks huge pages, both reserved and transparent ones.</summary>
internal sealed class HugePagesCheck() : Check("hugepages")
{
    public override IEnumerable<Finding> Run(Examination examination)
    {
        Machine machine = examination.Machine;
        long total = machine.MemoryInfo("HugePages_Total") ?? 0, free = machine.MemoryInfo("HugePages_Free") ?? 0, size = machine.MemoryInfo("Hugepagesize") ?? 0;
        // The file contains a text such as "always [madvise] never".
        string enabled = machine.Read("/sys/kernel/mm/transparent_hugepage/enabled") ?? "";
        string transparent = enabled.Split('[', ']') is [_, var chosen, _] ? chosen : "not there";
        var facts = new JsonObject { ["reserved"] = total, ["free"] = free, ["pageBytes"] = size, ["transparent"] = transparent };
        string found = $"{InWords.Number(free)} of {InWords.Number(total)} reserved huge pages{(size == 0 ? "" : $" of {InWords.Bytes(size)}")} are free; transparent huge pages: {transparent}";
        long needed = examination.Settings?.Pool is { HugePages: RmaHugePages.Explicit } pool ? SystemRules.StartBytes(pool, Math.Max(size, 1)) : 0;
        yield return needed > free * size
            ? Fail($"{found}, and the pool needs {InWords.Bytes(needed)} at its start (HugePages = Explicit)", $"Reserve them: `sysctl vm.nr_hugepages={(needed + Math.Max(size, 1) - 1) / Math.Max(size, 1) + total - free}` as root, or set HugePages to Transparent", facts)
            : Ok(found, facts);
    }
}

/// <summary>Reports the NUMA nodes, and those of RDMA devices.</summary>
internal sealed class NumaCheck() : Check("numa")
{
    public override IEnumerable<Finding> Run(Examination examination)
    {
        Machine machine = examination.Machine;
        string? online = machine.Read("/sys/devices/system/node/online");
        string[] devices = [.. machine.List("/sys/class/infiniband").Select(d => machine.ReadNumber($"/sys/class/infiniband/{d}/device/numa_node") is { } node and >= 0 ? $"{d} is at node {node}" : $"{d} is at no known node")];
        string places = devices.Length == 0 ? "" : $"; {string.Join(", ", devices)}";
        yield return online is null ? Absent("The system names no NUMA nodes")
            : Ok($"This machine has {(Count(online) == 1 ? "one NUMA node" : $"{Count(online)} NUMA nodes")} ({online}){places}", new JsonObject { ["online"] = online });
    }

    /// <summary>Counts the numbers in a list of the kernel, such as 4 in <c>0-2,5</c>.</summary>
    private static int Count(string list) => list.Split(',').Select(static part => part.Split('-')).Sum(static ends =>
        int.TryParse(ends[0], NumberStyles.None, CultureInfo.InvariantCulture, out int first) && int.TryParse(ends[^1], NumberStyles.None, CultureInfo.InvariantCulture, out int last) ? last - first + 1 : 1);
}

/// <summary>Checks the memory limit of the control group.</summary>
internal sealed class CgroupCheck() : Check("cgroup")
{
    private const long Little = 64L << 20;

    public override IEnumerable<Finding> Run(Examination examination)
    {
        if (examination.Limits.Cgroup is not { } group)
        {
            yield return Ok("The control group sets no memory limit", new JsonObject { ["limitBytes"] = null });
            yield break;
        }
        var facts = new JsonObject { ["limitBytes"] = group.Lowest.Bytes, ["availableBytes"] = group.Available, ["file"] = group.Lowest.File };
        string found = $"The control group's memory limit is {InWords.Bytes(group.Lowest.Bytes)}, and {InWords.About(group.Available)} are left ({group.File})";
        yield return group.Available < Little
            ? Warn(found, "Raise the container's memory limit, or the unit's MemoryMax: the kernel ends a process that goes over it", facts)
            : Ok(found, facts);
    }
}

/// <summary>Checks how many files may be open: each connection of tcp, and each peer of shm, uses some.</summary>
internal sealed class OpenFilesCheck() : Check("files")
{
    private const long Little = 1024;

    public override IEnumerable<Finding> Run(Examination examination)
    {
        (long? soft, long? hard) = examination.Machine.OpenFilesLimit;
        int open = examination.Machine.CountOpenFiles();
        var facts = new JsonObject { ["limit"] = soft, ["hardLimit"] = hard, ["open"] = open };
        yield return soft < Little
            ? Warn($"This process may have {InWords.Number(soft.Value)} files open, and has {open}; each peer takes up to four", "Raise the limit: `ulimit -n 65536` in the shell, LimitNOFILE=65536 in a systemd unit, `--ulimit nofile=65536` for docker run", facts)
            : Ok($"This process may have {(soft is { } limit ? InWords.Number(limit) : "any number of")} files open", facts);
    }
}
