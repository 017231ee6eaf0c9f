using AllocTools.Blocks;
using AllocTools.Interop;
using AllocTools.Regions;

namespace AllocTools.Validation;

/// <summary>What must hold between a pool's options and the system it runs on.</summary>
internal static class SystemRules
{
    /// <summary>What can't work.</summary>
    public static IEnumerable<string> Failures(RmaMemoryPoolOptions options, RmaProviderTraits? traits, SystemLimits limits)
    {
        if (options.NumaNode is >= 0 and < NumaNodes.MostNodes and int node && !limits.HasNumaNode(node))
            yield return $"{nameof(options.NumaNode)} is {node}; this system has {NumaNodes.Describe()}.";
        if (options.HugePages == RmaHugePages.Explicit && limits.HugePageBytes < Math.Max(1, InitialBytes(options)))
        {
            yield return $"{nameof(options.HugePages)} is Explicit, and {limits.HugePageBytes} bytes of huge pages are reserved, for {InitialBytes(options)} bytes at start. "
                + "Reserve more (sysctl vm.nr_hugepages=COUNT), or set HugePages to Transparent.";
        }
        if (!options.IsCapDefault && CapRisk(options, traits, limits) is { } risk)
            yield return risk;
    }

    /// <summary>Why the cap can't be reached, if so. A cap that nobody set is no mistake: the pool goes as far as it can.</summary>
    public static string? CapRisk(RmaMemoryPoolOptions options, RmaProviderTraits? traits, SystemLimits limits)
    {
        long cap = options.MaxRegisteredBytes;
        string found = $"{nameof(options.MaxRegisteredBytes)} is {cap}";
        if (limits.Cgroup is { } cgroup && cap > cgroup.Bytes)
            return $"{found}, more than the control group's memory limit, {cgroup.Bytes} ({cgroup.File}). Lower it, or raise the container's limit.";
        if (traits is { LocksPages: true } && limits.MemoryLock is { } locked && cap > locked - traits.TransportPinnedBytes)
        {
            string besides = traits.TransportPinnedBytes == 0 ? "" : $", and provider '{traits.ProviderName}' pins about {traits.TransportPinnedBytes} bytes besides";
            string lower = locked > traits.TransportPinnedBytes ? $" Or lower it to {locked - traits.TransportPinnedBytes}." : "";
            return $"{found}{besides}; RLIMIT_MEMLOCK is {locked} bytes. {MemoryLockLimit.HowToRaise}.{lower}";
        }
        return null;
    }

    private static long InitialBytes(RmaMemoryPoolOptions options) =>
        RmaMemoryPoolDefaults.AreDefault(options) ? 0 : options.SizeClasses.Sum(c => Math.Clamp(c.BlockSize, 0, 1L << 30) * Math.Clamp(c.InitialBlocks, 0, 1 << 24));
}
