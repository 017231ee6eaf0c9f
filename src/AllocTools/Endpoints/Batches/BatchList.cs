using System.Runtime.InteropServices;
using AllocTools.Endpoints.Drivers;

namespace AllocTools.Endpoints.Batches;

/// <summary>The operations of a batch, and everything that they use: buffers, peers' memory and peers, each listed once.</summary>
internal sealed class BatchList
{
    private readonly List<BatchEntry> _entries;
    private readonly List<RmaBuffer> _buffers = [];
    private readonly List<RmaHold> _holds = [];
    private readonly List<RemoteRegion> _regions = [];
    private readonly List<RmaDriverPeer> _peers = [];
    private readonly Dictionary<RmaBuffer, int> _bufferNumbers = [];
    private readonly HashSet<RemoteRegion> _knownRegions = [];
    private readonly HashSet<RmaDriverPeer> _knownPeers = [];

    public BatchList(int capacity) => _entries = new List<BatchEntry>(capacity);

    public int Count => _entries.Count;

    /// <summary>The total length of all operations in bytes.</summary>
    public long Length { get; private set; }

    public ReadOnlySpan<BatchEntry> Entries => CollectionsMarshal.AsSpan(_entries);

    /// <summary>The peers of the operations.</summary>
    public ReadOnlySpan<RmaDriverPeer> Peers => CollectionsMarshal.AsSpan(_peers);

    /// <returns>The operation's index.</returns>
    public int Add(in RmaOperation operation)
    {
        RmaBuffer buffer = operation.Local.Buffer;
        if (!_bufferNumbers.TryGetValue(buffer, out int number))
        {
            _bufferNumbers.Add(buffer, number = _buffers.Count);
            _buffers.Add(buffer);
            _holds.Add(default);
        }
        if (operation.Remote.Region is { } region && _knownRegions.Add(region))
            _regions.Add(region);
        if (operation.Destination.Entry is { } peer && _knownPeers.Add(peer))
            _peers.Add(peer);
        Length += operation.Local.Length;
        _entries.Add(new BatchEntry(operation, number));
        return _entries.Count - 1;
    }

    public void Clear()
    {
        _entries.Clear();
        _buffers.Clear();
        _holds.Clear();
        _regions.Clear();
        _peers.Clear();
        _bufferNumbers.Clear();
        _knownRegions.Clear();
        _knownPeers.Clear();
        Length = 0;
    }

    /// <summary>Holds all buffers, and keeps all mapped keys.</summary>
    /// <exception cref="InvalidOperationException">A buffer was returned; the message names the first operation with it.</exception>
    /// <exception cref="ObjectDisposedException">A region is disposed; the message names the first operation with it.</exception>
    public void Hold()
    {
        int held = 0, used = 0;
        Span<RmaHold> holds = CollectionsMarshal.AsSpan(_holds);
        try
        {
            for (; held < holds.Length; held++)
                holds[held] = HoldBuffer(held);
            for (; used < _regions.Count; used++)
            {
                if (!_regions[used].TryAddUse())
                    throw Disposed(_regions[used]);
            }
        }
        catch
        {
            LetGo(held, used);
            throw;
        }
    }

    /// <summary>Creates the error of starting a batch that has operations with a removed peer.</summary>
    /// <param name="peer">The peer, as the transport knows it.</param>
    /// <param name="name">The peer, as users know it.</param>
    public InvalidOperationException Removed(RmaDriverPeer peer, RmaPeer? name) =>
        new($"{NameFirst(e => e.Peer == peer)}{name}. Clear the batch, and add operations with a peer that is inserted.");

    public void LetGo() => LetGo(_holds.Count, _regions.Count);

    /// <summary>Gives one operation its own hold, because it may end after the batch. <see cref="Hold"/> must be in force.</summary>
    public RmaHold HoldAgain(int index) => CollectionsMarshal.AsSpan(_holds)[_entries[index].Buffer].Again();

    /// <summary>Returns an operation as a single one, which keeps its own buffer and key. <see cref="Hold"/> must be in force.</summary>
    public RmaOperation TakeOut(int index, RmaPeer peer, out RmaHold hold)
    {
        BatchEntry entry = _entries[index];
        hold = HoldAgain(index);
        entry.Region?.AddUseAgain();
        RmaSlice local = new(_buffers[entry.Buffer], entry.Address - hold.Address, entry.Length);
        return entry.Kind switch
        {
            RmaOperationKind.Write when entry.Notification is { } notification => RmaOperation.WriteAndNotify(local, entry.Remote, notification),
            RmaOperationKind.Write => RmaOperation.Write(local, entry.Remote),
            RmaOperationKind.Read => RmaOperation.Read(local, entry.Remote),
            _ => RmaOperation.Send(local, peer),
        };
    }

    private RmaHold HoldBuffer(int number)
    {
        try
        {
            return _buffers[number].Hold();
        }
        catch (InvalidOperationException e)
        {
            throw Returned(number, e);
        }
    }

    // Separate methods create the errors, because a closure is allocated at the beginning of the method that contains it.
    private InvalidOperationException Returned(int buffer, InvalidOperationException error) => new(NameFirst(e => e.Buffer == buffer) + error.Message, error);

    private ObjectDisposedException Disposed(RemoteRegion region) => region.Disposed(NameFirst(e => e.Region == region));

    /// <summary>Returns the beginning of an error message, with the index of the first operation that matches.</summary>
    private string NameFirst(Predicate<BatchEntry> match) => $"Operation {_entries.FindIndex(match)} of a batch of {Count} can't be started: ";

    private void LetGo(int held, int used)
    {
        foreach (ref RmaHold hold in CollectionsMarshal.AsSpan(_holds)[..held])
            hold.Release();
        for (int i = 0; i < used; i++)
            _regions[i].EndUse();
    }
}

/// <summary>
/// An operation of a batch in the form that a slot needs. The address of its memory doesn't change while its buffer is
/// rented.
/// </summary>
internal readonly struct BatchEntry
{
    public BatchEntry(in RmaOperation operation, int buffer)
    {
        Kind = operation.Kind;
        Buffer = buffer;
        Notification = operation.Notification;
        Address = operation.Local.Address;
        Length = operation.Local.Length;
        LocalDescriptor = operation.Local.Buffer.LocalDescriptor;
        Region = operation.Remote.Region;
        Peer = operation.Destination.Entry!;
        RemoteAddress = Region is null ? 0 : operation.Remote.Address;
    }

    public RmaOperationKind Kind { get; }

    /// <summary>The number of the operation's buffer in the list.</summary>
    public int Buffer { get; }

    public nint Address { get; }

    public long Length { get; }

    public nint LocalDescriptor { get; }

    /// <summary>The peer's memory; null for a send.</summary>
    public RemoteRegion? Region { get; }

    public RmaDriverPeer Peer { get; }

    public ulong RemoteAddress { get; }

    public ulong? Notification { get; }

    public RemoteSlice Remote => new(Region!, (long)(RemoteAddress - Region!.Memory.Address), Length);

    /// <summary>
    /// Whether the operation is empty, so that the transport is not used: shm (libfabric 1.17) never completes empty
    /// operations.
    /// </summary>
    public bool IsEmptyTransfer => Length == 0 && Kind != RmaOperationKind.Send;
}
