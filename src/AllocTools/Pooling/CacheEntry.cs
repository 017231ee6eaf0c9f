using System.Buffers;
using System.Diagnostics.CodeAnalysis;
using System.IO.MemoryMappedFiles;
using System.Runtime;
using System.Runtime.InteropServices;
using AllocTools.Regions;

namespace AllocTools.Pooling;

/// <summary>A registration of memory that a caller owns. It stays for the next request for that memory.</summary>
/// <remarks>
/// While an entry is leased, registered or deregistered it refers to the owner of its memory. An idle entry must not keep an
/// array alive that needs no pin: it refers to it weakly, and its <see cref="Watch"/> goes with the array, by a
/// <see cref="DependentHandle"/>. The watch refers to the array, and has a finalizer: so when nothing else refers to the
/// array any more, the collector keeps it once more, for the finalizer, and frees its memory only after the watch was let
/// go, which is after the memory was deregistered. No other object is ever where a transport, or a peer that has kept
/// an old key, may still write.
/// All but <see cref="Settle"/> and <see cref="AwaitSettled"/>, <see cref="Pin"/> and <see cref="Unpin"/> needs the cache's lock.
/// </remarks>
internal sealed unsafe class CacheEntry
{
    private readonly CachedRegions _cache;

    // Waited on, so no Lock.
    private readonly object _settling = new();
    private MemoryHandle _pin;
    private DependentHandle _watched;

    // Of an array that is watched: refers to it while it is leased, or registered, and to nothing while it is idle.
    private PinnedGCHandle<object?> _place;

    // For the first view.
    private ulong[]? _states;
    private bool _isPinned;
    private bool _isSettled;

    // The views that were returned last: the next leases of the same bytes take them again.
    private Slab? _view;
    private Slab? _older;

    public CacheEntry(CachedRegions cache, in CallersRange range, bool isKept)
    {
        IsKept = isKept;
        _cache = cache;
        Address = range.Address;
        Length = range.Length;
        Start = range.Start;
        End = range.End;
        Kind = range.Kind;
        Owner = range.Owner;
        IsReadOnly = range.IsReadOnly;
    }

    public nint Address { get; }

    public long Length { get; }

    public ulong Start { get; }

    /// <summary>The first byte behind it.</summary>
    public ulong End { get; }

    public CallersRangeKind Kind { get; }

    /// <summary>It was asked for as memory that is only read, and is registered so.</summary>
    public bool IsReadOnly { get; }

    /// <summary>The name of the caller's parameter that gives the address.</summary>
    public string AddressName => Kind switch
    {
        CallersRangeKind.Native => "address",
        CallersRangeKind.View => "view",
        CallersRangeKind.Buffer => "offset",
        _ => "memory",
    };

    /// <summary>The registration; null before it is made.</summary>
    public MemoryRegion? Region { get; set; }

    /// <summary>Whose memory it is, or the watch over it; null for native memory, and where it must not be kept alive.</summary>
    public object? Owner { get; private set; }

    /// <summary>Leases that have not ended, and ended ones whose bytes are still held.</summary>
    public int Leases { get; set; }

    /// <summary>The next request that it would serve finds it.</summary>
    public bool IsIndexed { get; set; }

    /// <summary>It is deregistered, or is about to be.</summary>
    public bool IsLeaving { get; set; }

    /// <summary>It has been deregistered.</summary>
    public bool IsGone { get; set; }

    /// <summary>It stays when its last lease ends, and counts against the limits.</summary>
    public bool IsKept { get; }

    /// <summary>Its memory is a view that was disposed. A SafeBuffer does not show that while it is referred to.</summary>
    public bool IsOwnerClosed => Owner is MemoryMappedViewAccessor { CanRead: false, CanWrite: false };

    /// <summary>Completed when it was deregistered; failed where that failed.</summary>
    public TaskCompletionSource? Gone { get; private set; }

    /// <summary>Makes <see cref="Gone"/> for a caller that waits for it.</summary>
    public TaskCompletionSource EnsureGone() => Gone ??= new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously);

    /// <summary>The neighbours in the list of idle entries.</summary>
    public CacheEntry? Older { get; set; }

    /// <inheritdoc cref="Older"/>
    public CacheEntry? Newer { get; set; }

    /// <summary>It has no lease, and stands in the list of idle entries.</summary>
    public bool IsIdle { get; set; }

    /// <summary>Its owner has announced, while it was being registered, in use or leaving, that its memory goes.</summary>
    public bool IsInvalidated { get; set; }

    /// <summary>When an idle entry was first found to be idle; MaxValue before that.</summary>
    public long IdleSince { get; set; }

    public bool Touches(ulong start, ulong end) => Start < end && End > start;

    public bool Covers(ulong start, ulong end) => Start <= start && End >= end;

    /// <summary>It serves requests for memory that is only read, or for any.</summary>
    public bool Allows(bool isReadOnly) => isReadOnly || !IsReadOnly;

    /// <summary>Its memory is still that owner's.</summary>
    public bool IsOf(object? owner) => (_watched.IsAllocated ? _watched.Target : Owner) == owner;

    /// <summary>Makes what the first lease needs, so that nothing can fail once the memory is registered.</summary>
    public void Prepare() => _states = Slab.AllocateStates(1, 1);

    /// <summary>Keeps the memory in place.</summary>
    /// <exception cref="ObjectDisposedException">The buffer that has the memory is disposed.</exception>
    public void Pin()
    {
        switch (Kind)
        {
            case CallersRangeKind.PinnedArray:
                _watched = new DependentHandle(Owner, new Watch(this, Owner!));
                _place = new PinnedGCHandle<object?>(Owner);
                break;
            case CallersRangeKind.Array:
                _pin = new MemoryHandle((void*)Address, GCHandle.Alloc(Owner, GCHandleType.Pinned));
                break;
            case CallersRangeKind.Manager:
                _pin = ((MemoryManager<byte>)Owner!).Pin();
                break;
            case CallersRangeKind.Buffer or CallersRangeKind.View:
                bool isAdded = false;
                BufferOf(Owner!).DangerousAddRef(ref isAdded);
                break;
        }
        _isPinned = true;
    }

    /// <summary>Lets the memory go. It is called once, after the memory was deregistered.</summary>
    public void Unpin()
    {
        if (!_isPinned)
            return;
        _isPinned = false;
        if (_watched.IsAllocated)
        {
            (_watched.Dependent as Watch)?.Dispose();
            _watched.Dispose();
            _place.Dispose();
        }
        _pin.Dispose();
        if (Kind is CallersRangeKind.Buffer or CallersRangeKind.View)
            BufferOf(Owner!).DangerousRelease();
        // A buffer that was returned, and that somebody still refers to, must not keep the memory alive.
        Owner = null;
        _view = _older = null;
    }

    private static SafeBuffer BufferOf(object owner) => owner as SafeBuffer ?? ((MemoryMappedViewAccessor)owner).SafeMemoryMappedViewHandle;

    /// <summary>A view of some of its bytes, for a lease.</summary>
    public Slab TakeView(in CallersRange range)
    {
        long offset = range.Address - Address;
        bool isWritable = Region!.IsWritable && !range.IsReadOnly;
        Slab view;
        if (IsOf(_view, range))
        {
            (view, _view, _older) = (_view, _older, null);
            return view;
        }
        if (IsOf(_older, range))
        {
            (view, _older) = (_older, null);
            return view;
        }
        // The state words of an older view go on with their generations, so no lease of that view is ever valid again.
        view = new Slab(_cache, this, offset, range.Length, range.IsReadOnly, _older?.StateMemory ?? _states ?? Slab.AllocateStates(1, 1));
        if (_older is null)
            _states = null;
        _older = null;
        return view;

        bool IsOf([NotNullWhen(true)] Slab? last, in CallersRange range) =>
            last is not null && last.Offset == offset && last.BlockSize == range.Length && last.IsWritable == isWritable;
    }

    public void PutView(Slab view) => (_view, _older) = (view, _view);

    /// <summary>The entry is leased, so its memory must stay.</summary>
    public void ReferStrongly(object? owner)
    {
        if (Owner is not null)
            return;
        Owner = owner;
        if (_place.IsAllocated)
            _place.Target = owner;
    }

    /// <summary>The entry is idle, so it must not keep its memory alive.</summary>
    public void ReferWeakly()
    {
        if (!_watched.IsAllocated)
            return;
        Owner = null;
        _place.Target = null;
    }

    /// <summary>The entry is about to be deregistered, and its memory must stay until then.</summary>
    public void ReferUntilDeregistered()
    {
        IsLeaving = true;
        if (_watched.IsAllocated)
            Owner ??= _watched.Target;
    }

    /// <summary>Only the watch, whose finalizer has run, refers to the array now.</summary>
    public void KeepWatch(Watch watch) => Owner ??= watch;

    /// <summary>The registration has succeeded or failed.</summary>
    public void Settle()
    {
        lock (_settling)
        {
            _isSettled = true;
            Monitor.PulseAll(_settling);
        }
    }

    /// <summary>Waits for the thread that registers the entry.</summary>
    public void AwaitSettled()
    {
        lock (_settling)
        {
            while (!_isSettled)
                Monitor.Wait(_settling);
        }
    }

    /// <summary>Goes with an array, and keeps it until its memory was deregistered.</summary>
    internal sealed class Watch(CacheEntry entry, object array) : IDisposable
    {
        /// <summary>The collector has found that nothing else refers to the array.</summary>
        ~Watch() => entry._cache.OnCollected(this);

        public CacheEntry Entry => entry;

        /// <summary>The array, which the watch keeps alive.</summary>
        public object Array => array;

        /// <summary>Ends the watch.</summary>
        public void Dispose() => GC.SuppressFinalize(this);
    }
}
