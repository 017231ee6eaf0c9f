using AllocTools.Interop;

namespace AllocTools.Blocks;

/// <summary>Counts the mapped allocations of this process, and checks whether one more leaves the process enough mappings.</summary>
/// <remarks>
/// At vm.max_map_count the runtime aborts the process as soon as it needs a mapping itself. Counting all mappings takes
/// about 0.5 µs each, so that is done only if a quarter of the limit could be used by this library, and then once for
/// 64 allocations as long as there is room. It is static because mappings belong to the process.
/// </remarks>
internal static class MappingCount
{
    private const int Interval = 64;

    private static readonly long Suspicious = (SystemShortage.MostMappings ?? long.MaxValue) / 4;

    private static long _allocations;
    private static bool _isShort;

    /// <summary>Counts one more allocation.</summary>
    /// <returns>Why the allocation is refused, and not counted; null if it is allowed.</returns>
    public static string? TryAdd()
    {
        long count = Interlocked.Increment(ref _allocations);
        if (count < Suspicious || (count % Interval != 0 && !Volatile.Read(ref _isShort)))
            return null;
        string? shortage = SystemShortage.Mappings();
        Volatile.Write(ref _isShort, shortage is not null);
        if (shortage is not null)
            Remove();
        return shortage;
    }

    public static void Remove() => Interlocked.Decrement(ref _allocations);
}
