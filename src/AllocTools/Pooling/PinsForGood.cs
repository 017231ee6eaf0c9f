using System.Buffers;
using System.Collections.Concurrent;

namespace AllocTools.Pooling;

/// <summary>
/// What callers have pinned and a transport may reach for ever, since a registration could not be undone. Static: neither
/// the pool that pinned it nor its owner may be the last to refer to it, for then it would be freed.
/// </summary>
internal static class PinsForGood
{
    private static readonly ConcurrentQueue<MemoryHandle> Kept = [];

    public static void Keep(MemoryHandle pin) => Kept.Enqueue(pin);
}
