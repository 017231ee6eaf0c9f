using AllocTools;
using WorkerService.Protocol;

namespace WorkerService.Transfer;

/// <summary>The memory that a sender may write to: a few slots, each a rented and exposed buffer until a chunk is in it.</summary>
/// <remarks>
/// Invariant: open slots + chunks that wait ≤ the limit, so a peer can make us hold no more than that, in whatever order
/// it fills slots. A buffer is never exposed any more when its bytes are used.
/// </remarks>
internal sealed class ReceiveWindow : IDisposable
{
    private readonly IRmaMemoryPool _pool;
    private readonly long _fileLength;
    private readonly int _slotLength;
    private readonly (RmaBuffer Buffer, RmaExposure Exposure)?[] _open;
    private readonly Dictionary<long, (RmaBuffer Buffer, int Length)> _waiting = [];
    private int _openCount;
    private long _waitingBytes;

    public ReceiveWindow(IRmaMemoryPool pool, int slots, int slotLength, long fileLength)
    {
        _pool = pool;
        _slotLength = slotLength;
        _fileLength = fileLength;
        _open = new (RmaBuffer, RmaExposure)?[slots];
    }

    /// <summary>Where in the file the next chunk starts, in bytes.</summary>
    public long Position { get; private set; }

    /// <summary>Opens another slot, where there is room and the file still has bytes for it.</summary>
    /// <returns>What to tell the sender, or null.</returns>
    public async ValueTask<GrantMessage?> TryOpenAsync(CancellationToken cancellationToken)
    {
        long expected = Position + _waitingBytes + (long)_openCount * _slotLength;
        if (_openCount + _waiting.Count >= _open.Length || expected >= _fileLength)
            return null;
        int slot = Array.FindIndex(_open, s => s is null);
        RmaBuffer buffer = await _pool.RentAsync(_slotLength, cancellationToken);
        try
        {
            RmaExposure exposure = buffer.Expose(RmaAccess.RemoteWrite);
            _open[slot] = (buffer, exposure);
            _openCount++;
            return new GrantMessage(slot, exposure.Remote);
        }
        catch
        {
            buffer.Dispose();
            throw;
        }
    }

    /// <summary>Takes a slot back that the sender says it has filled.</summary>
    /// <exception cref="TransferException">It can't have.</exception>
    public void Fill(ChunkMessage chunk)
    {
        if (chunk.Slot >= _open.Length || _open[chunk.Slot] is not { } slot)
            throw new TransferException($"The sender filled slot {chunk.Slot}, which it was not granted.");
        bool fits = chunk.Length <= _slotLength && chunk.Offset >= Position && chunk.Offset <= _fileLength - chunk.Length;
        if (!fits || !_waiting.TryAdd(chunk.Offset, (slot.Buffer, chunk.Length)))
            throw new TransferException($"The sender sent {chunk.Length} bytes at {chunk.Offset} of a file of {_fileLength}, of which {Position} are here.");
        slot.Exposure.Dispose();
        _open[chunk.Slot] = null;
        _openCount--;
        _waitingBytes += chunk.Length;
    }

    /// <summary>Takes the chunk that is next in the file, where it is here. The caller returns its buffer.</summary>
    /// <exception cref="TransferException">It isn't, and no slot is left for it.</exception>
    public bool TryTakeNext(out RmaBuffer buffer, out int length)
    {
        if (_waiting.Remove(Position, out (RmaBuffer Buffer, int Length) chunk))
        {
            (buffer, length) = chunk;
            Position += length;
            _waitingBytes -= length;
            return true;
        }
        if (_waiting.Count == _open.Length)
            throw new TransferException($"The sender filled all {_open.Length} slots, and left a gap at {Position}.");
        (buffer, length) = (default, 0);
        return false;
    }

    /// <summary>Gives everything back. Called when the sender is done, or the transfer has failed and the process ends.</summary>
    public void Dispose()
    {
        foreach ((RmaBuffer buffer, RmaExposure exposure) in _open.OfType<(RmaBuffer, RmaExposure)>())
        {
            exposure.Dispose();
            buffer.Dispose();
        }
        Array.Clear(_open);
        foreach ((RmaBuffer buffer, _) in _waiting.Values)
            buffer.Dispose();
        _waiting.Clear();
    }
}
