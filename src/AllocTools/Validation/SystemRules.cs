using AllocTools.Blocks;
using AllocTools.Interop;
using AllocTools.Regions;

namespace AllocTools.Validation;

/// <summary>The rules between a pool's options and the system on which it runs.</summary>
internal static class SystemRules
{
    /// <summary>Returns the failures: options that can't work on this system.</summary>
    /// <param name="options">The options.</param>
    /// <param name="traits">The traits of the provider; null: it is not opened yet.</param>
    /// <param name="limits">The system's limits.</param>
    /// <param name="hasClasses">Whether the options give size classes, so that it is known what the pool registers at its start.</param>
    public static IEnumerable<string> Failures(RmaMemoryPoolOptions options, RmaProviderTraits? traits, SystemLimits limits, bool hasClasses = true)
    {
        if (options.NumaNode is >= 0 and < NumaNodes.MostNodes and int node && !limits.HasNumaNode(node))
            yield return $"{nameof(options.NumaNode)} is {node}, but this system has no such node; it has {NumaNodes.Describe()}.";
        if (options.HugePages == RmaHugePages.Explicit && hasClasses && StartBytes(options, limits.HugePageSize) is var needed && limits.HugePageBytes < Math.Max(1, needed))
        {
            yield return $"{nameof(options.HugePages)} is Explicit, but {InWords.Bytes(limits.HugePageBytes)} of huge pages are reserved, and {InWords.Bytes(needed)} are needed at the start. "
                + "Reserve more (sysctl vm.nr_hugepages=COUNT), or set HugePages to Transparent.";
        }
        if (!options.IsCapDefault && Shortfall(options, traits, limits) is { } shortfall)
            yield return shortfall;
    }

    /// <summary>
    /// Returns why the pool may not reach its cap, in cases that are not errors: the cap was not set, or it exceeds the
    /// memory that the machine has or that the control group has left at present.
    /// </summary>
    public static string? Warning(RmaMemoryPoolOptions options, RmaProviderTraits? traits, SystemLimits limits)
    {
        if (Shortfall(options, traits, limits) is { } shortfall)
            return shortfall;
        string found = Found(options);
        if (limits.MachineMemory is { } memory && options.MaxRegisteredBytes > memory)
            return $"{found}, but this machine has {InWords.About(memory)} of memory. Registered memory can't be paged out: lower MaxRegisteredBytes.";
        return limits.Cgroup is { } group && options.MaxRegisteredBytes > group.Available
            ? $"{found}, but of the control group's memory limit, {InWords.Bytes(group.Limit)}, only {InWords.About(group.Available)} are left ({group.File}). Growth beyond that is refused."
            : null;
    }

    private static string? Shortfall(RmaMemoryPoolOptions options, RmaProviderTraits? traits, SystemLimits limits)
    {
        long cap = options.MaxRegisteredBytes;
        string found = Found(options);
        if (limits.Cgroup is { } group && cap > group.Lowest.Bytes)
            return $"{found}, but the control group's memory limit is {InWords.Bytes(group.Lowest.Bytes)} ({group.Lowest.File}). Lower MaxRegisteredBytes, or raise the container's limit.";
        if (traits is { LocksPages: true } && limits.MemoryLock is { } locked && cap > locked - traits.TransportPinnedBytes)
        {
            string besides = traits.TransportPinnedBytes == 0 ? "" : $" and provider '{traits.ProviderName}' pins about {InWords.Bytes(traits.TransportPinnedBytes)} in addition";
            string lower = locked > traits.TransportPinnedBytes ? $" Or lower MaxRegisteredBytes to {InWords.Size(locked - traits.TransportPinnedBytes)}." : "";
            return $"{found}{besides}, but RLIMIT_MEMLOCK is {InWords.Size(locked)}. {MemoryLockLimit.HowToRaise()}.{lower}";
        }
        return null;
    }

    private static string Found(RmaMemoryPoolOptions options) => $"{nameof(options.MaxRegisteredBytes)} is {InWords.Bytes(options.MaxRegisteredBytes)}";

    /// <summary>
    /// Returns the bytes that a pool registers at its start: each slab is rounded up to whole pages, and what exceeds
    /// the cap is registered on demand.
    /// </summary>
    /// <param name="options">The options.</param>
    /// <param name="page">The size of a page of the memory that is registered, in bytes.</param>
    public static long StartBytes(RmaMemoryPoolOptions options, long page)
    {
        long bytes = 0;
        foreach (SizeClassOptions sizeClass in RmaMemoryPoolDefaults.SizeClassesOf(options))
        {
            // Values outside their ranges are reported elsewhere, and must not overflow here.
            long block = Math.Clamp(sizeClass.BlockSize, 1, 1L << 30);
            long most = Math.Max(1, options.MaxSlabBytes / block);
            (long whole, long rest) = Math.DivRem(Math.Clamp(sizeClass.InitialBlocks, 0, 1 << 24), most);
            bytes += whole * RoundUp(most * block) + RoundUp(rest * block);
        }
        return Math.Min(bytes, options.MaxRegisteredBytes);

        long RoundUp(long length) => (length + page - 1) / page * page;
    }
}
