using System.Buffers;
using System.Runtime.InteropServices;

namespace AllocTools.Pooling;

/// <summary>What keeps a caller's memory in place while it is registered.</summary>
internal enum CallersRangeKind
{
    /// <summary>Nothing: its owner announces when it is about to be freed.</summary>
    Native,

    /// <summary>
    /// The array, which lies on the pinned object heap; also a pin while it is leased, because only the caller says
    /// that it lies there.
    /// </summary>
    PinnedArray,

    /// <summary>A pin of the array.</summary>
    Array,

    /// <summary>A pin of the memory manager, which may count its pins.</summary>
    Manager,

    /// <summary>A reference that is counted by the buffer.</summary>
    Buffer,

    /// <summary>A reference that is counted by the buffer behind a view of a mapped file.</summary>
    View,
}

/// <summary>A caller's memory that is to be registered, and its owner.</summary>
/// <param name="Address">The first byte; it stays there during the call.</param>
/// <param name="Length">Bytes.</param>
/// <param name="Owner">The object that owns the memory: array, memory manager, <see cref="SafeBuffer"/> or view; null for native memory.</param>
/// <param name="Kind">What keeps it in place.</param>
/// <param name="IsReadOnly">Whether the caller asks for memory that nothing writes to.</param>
internal readonly record struct CallersRange(nint Address, long Length, object? Owner, CallersRangeKind Kind, bool IsReadOnly)
{
    public ulong Start => (ulong)Address;

    /// <summary>The first byte after it.</summary>
    public ulong End => EndOf(Address, Length);

    public static ulong EndOf(nint address, long length) => (ulong)address + (ulong)length is var end && end < (ulong)address ? ulong.MaxValue : end;

    /// <summary>Describes the bytes of a memory, and their owner. The caller has fixed it.</summary>
    /// <param name="address">Its first byte.</param>
    /// <param name="memory">The memory; not empty.</param>
    /// <param name="isReadOnly">Whether the caller asks for memory that nothing writes to.</param>
    public static CallersRange Of(nint address, ReadOnlyMemory<byte> memory, bool isReadOnly)
    {
        if (MemoryMarshal.TryGetArray(memory, out ArraySegment<byte> part))
        {
            // Memory that was made by CreateFromPinnedArray says that its array never moves, and nothing else distinguishes it. The caller may
            // have pinned that array by a handle. A young array can't be on the pinned object heap, which belongs to the oldest generation.
            bool isPinned = memory.Equals(MemoryMarshal.CreateFromPinnedArray(part.Array, part.Offset, part.Count)) && GC.GetGeneration(part.Array!) >= GC.MaxGeneration;
            return new CallersRange(address, memory.Length, part.Array, isPinned ? CallersRangeKind.PinnedArray : CallersRangeKind.Array, isReadOnly);
        }
        MemoryMarshal.TryGetMemoryManager(memory, out MemoryManager<byte>? manager);
        return new CallersRange(address, memory.Length, manager, CallersRangeKind.Manager, isReadOnly);
    }
}
