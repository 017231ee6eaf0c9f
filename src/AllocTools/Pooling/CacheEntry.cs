using System.Buffers;
using System.Diagnostics.CodeAnalysis;
using System.IO.MemoryMappedFiles;
using System.Runtime;
using System.Runtime.InteropServices;
using AllocTools.Regions;

namespace AllocTools.Pooling;

/// <summary>A registration of memory that a caller owns. It stays for the next request for that memory.</summary>
/// <remarks>
/// While an entry is leased, registered or deregistered, it refers to the owner of its memory. An idle entry must not
/// keep an array alive that needs no pin: it refers to the array weakly, and a <see cref="DependentHandle"/> ties its
/// <see cref="Watch"/> to the array. The watch refers to the array and has a finalizer. So when nothing else refers to
/// the array any more, the collector keeps it once more, for the finalizer. It frees the memory only after the watch
/// was let go, which is after the memory was deregistered. No other object is ever placed where a transport, or a peer
/// that has kept an old key, may still write.
/// All members but <see cref="Settle"/>, <see cref="AwaitSettled"/>, <see cref="Pin"/> and <see cref="Unpin"/> need the
/// cache's lock.
/// </remarks>
internal sealed unsafe class CacheEntry
{
    private readonly CachedRegions _cache;

    // A plain object, because Monitor.Wait does not work with a Lock.
    private readonly object _settling = new();
    private MemoryHandle _pin;
    private DependentHandle _watched;

    // For a watched array: refers to it while it is leased or registered, and to nothing while it is idle.
    private PinnedGCHandle<object?> _place;

    // The state words for the first view.
    private ulong[]? _states;
    private bool _isPinned;
    private bool _isSettled;

    // The views that were returned last; the next leases of the same bytes use them again.
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

    /// <summary>The first byte after it.</summary>
    public ulong End { get; }

    public CallersRangeKind Kind { get; }

    /// <summary>Whether it was requested, and is registered, as memory that is only read.</summary>
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

    /// <summary>
    /// The owner of the memory, or the watch over it; null for native memory, and while the memory must not be kept
    /// alive.
    /// </summary>
    public object? Owner { get; private set; }

    /// <summary>Leases that have not ended, and ended ones whose bytes are still held.</summary>
    public int Leases { get; set; }

    /// <summary>Whether the next request that it can serve finds it.</summary>
    public bool IsIndexed { get; set; }

    /// <summary>Whether it is deregistered, or about to be.</summary>
    public bool IsLeaving { get; set; }

    /// <summary>Whether it has been deregistered.</summary>
    public bool IsGone { get; set; }

    /// <summary>Whether it stays when its last lease ends, and counts against the limits.</summary>
    public bool IsKept { get; }

    /// <summary>
    /// Whether its memory is a view that was disposed. A SafeBuffer does not show that while something refers to it.
    /// </summary>
    public bool IsOwnerClosed => Owner is MemoryMappedViewAccessor { CanRead: false, CanWrite: false };

    /// <summary>Completes when the entry was deregistered; fails if that failed.</summary>
    public TaskCompletionSource? Gone { get; private set; }

    /// <summary>Creates <see cref="Gone"/> for a caller that waits for it.</summary>
    public TaskCompletionSource EnsureGone() => Gone ??= new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously);

    /// <summary>The neighbours in the list of idle entries.</summary>
    public CacheEntry? Older { get; set; }

    /// <inheritdoc cref="Older"/>
    public CacheEntry? Newer { get; set; }

    /// <summary>Whether it has no lease, and is in the list of idle entries.</summary>
    public bool IsIdle { get; set; }

    /// <summary>
    /// Whether its owner has announced, while it was being registered, in use or leaving, that its memory is about to
    /// be freed.
    /// </summary>
    public bool IsInvalidated { get; set; }

    /// <summary>When an idle entry was first found to be idle; MaxValue before that.</summary>
    public long IdleSince { get; set; }

    public bool Touches(ulong start, ulong end) => Start < end && End > start;

    public bool Covers(ulong start, ulong end) => Start <= start && End >= end;

    /// <summary>Whether it can serve a request for memory that is only read, or for memory that is written.</summary>
    public bool Allows(bool isReadOnly) => isReadOnly || !IsReadOnly;

    /// <summary>Whether its memory still belongs to that owner.</summary>
    public bool IsOf(object? owner) => (_watched.IsAllocated ? _watched.Target : Owner) == owner;

    /// <summary>Allocates what the first lease needs, so that nothing can fail once the memory is registered.</summary>
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

    /// <summary>Unpins the memory. It is called once, after the memory was deregistered.</summary>
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

    /// <summary>Returns a view of some of its bytes, for a lease.</summary>
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
        // The new view continues the generations in the state words of an older view, so no lease of that view is ever valid again.
        view = new Slab(_cache, this, offset, range.Length, range.IsReadOnly, _older?.StateMemory ?? _states ?? Slab.AllocateStates(1, 1));
        if (_older is null)
            _states = null;
        _older = null;
        return view;

        bool IsOf([NotNullWhen(true)] Slab? last, in CallersRange range) =>
            last is not null && last.Offset == offset && last.BlockSize == range.Length && last.IsWritable == isWritable;
    }

    public void PutView(Slab view) => (_view, _older) = (view, _view);

    /// <summary>Refers to the memory's owner strongly: the entry is leased, so its memory must stay.</summary>
    public void ReferStrongly(object? owner)
    {
        if (Owner is not null)
            return;
        Owner = owner;
        if (_place.IsAllocated)
            _place.Target = owner;
    }

    /// <summary>Refers to the memory's owner weakly: the entry is idle, so it must not keep its memory alive.</summary>
    public void ReferWeakly()
    {
        if (!_watched.IsAllocated)
            return;
        Owner = null;
        _place.Target = null;
    }

    /// <summary>Keeps the memory alive until it was deregistered, which is about to happen.</summary>
    public void ReferUntilDeregistered()
    {
        IsLeaving = true;
        if (_watched.IsAllocated)
            Owner ??= _watched.Target;
    }

    /// <summary>Keeps the watch alive: its finalizer has run, and nothing else refers to the array now.</summary>
    public void KeepWatch(Watch watch) => Owner ??= watch;

    /// <summary>Records that the registration has succeeded or failed.</summary>
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

    /// <summary>Is tied to an array, and keeps it alive until its memory was deregistered.</summary>
    internal sealed class Watch(CacheEntry entry, object array) : IDisposable
    {
        /// <summary>Runs when the collector has found that nothing else refers to the array.</summary>
        ~Watch() => entry._cache.OnCollected(this);

        public CacheEntry Entry => entry;

        /// <summary>The array, which the watch keeps alive.</summary>
        public object Array => array;

        /// <summary>Ends the watch.</summary>
        public void Dispose() => GC.SuppressFinalize(this);
    }
}
