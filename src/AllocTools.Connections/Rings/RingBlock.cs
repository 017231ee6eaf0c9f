namespace AllocTools.Connections.Rings;

/// <summary>Memory of one direction at its reader: what its peer may write.</summary>
/// <remarks>
/// Byte 0: the word in which the peer gives credit for the other direction. Byte 64: the source of this side's own credit writes. From
/// byte 128 on: the ring.
/// </remarks>
internal sealed unsafe class RingBlock : IDisposable
{
    /// <summary>Where the ring begins.</summary>
    public const int RingOffset = 128;

    /// <summary>Where the source of credit writes is.</summary>
    public const int CreditSourceOffset = 64;

    /// <summary>The bytes of a credit.</summary>
    public const int CreditLength = sizeof(long);

    /// <summary>The fewest bytes of a block.</summary>
    public const int Least = 1024;

    private readonly RmaBuffer _buffer;
    private readonly RmaExposure _exposure;
    private readonly byte* _address;
    private RmaHold _hold;
    private int _state;

    /// <exception cref="RmaException">The pool has no room.</exception>
    public RingBlock(IRmaMemoryPool pool, int length)
    {
        _buffer = pool.Rent(length);
        try
        {
            _buffer.GetSpan(0, RingOffset).Clear();
            _exposure = _buffer.ExposeToOne(0, length, RmaAccess.RemoteWrite);
            _address = (byte*)_buffer.Address;
            // Held by itself, so that the application may dispose nothing under a peer that writes.
            Length = RingLengthOf(length);
            Ring = _buffer.Memory.Slice(RingOffset, Length);
        }
        catch
        {
            _exposure?.Dispose();
            _buffer.Dispose();
            throw;
        }
    }

    /// <summary>What the peer needs.</summary>
    public RemoteMemory Remote => _exposure.Remote;

    /// <summary>The ring's length, a multiple of 16.</summary>
    public int Length { get; }

    /// <summary>The ring.</summary>
    public ReadOnlyMemory<byte> Ring { get; }

    /// <summary>What the peer has written into the credit word.</summary>
    public long Credit => Volatile.Read(ref *(long*)_address);

    /// <summary>The bytes of a ring in a block of that length.</summary>
    public static int RingLengthOf(long blockLength) => (int)((blockLength - RingOffset) & ~15L);

    /// <summary>A header in the ring, copied.</summary>
    public FrameHeader ReadHeader(int offset) => FrameHeader.Read(new ReadOnlySpan<byte>(_address + RingOffset + offset, FrameHeader.Length));

    /// <summary>Fills the source of a credit write.</summary>
    public RmaSlice PrepareCredit(long credit)
    {
        *(long*)(_address + CreditSourceOffset) = credit;
        return _buffer.Slice(CreditSourceOffset, CreditLength);
    }

    /// <summary>The peer may still write where the transport lets it: the memory stays out of use until <see cref="Dispose"/>.</summary>
    public void Quarantine()
    {
        if (Interlocked.CompareExchange(ref _state, 1, 0) != 0)
            return;
        _hold = _buffer.Hold();
        _hold.Quarantine();
        _exposure.Dispose();
        _buffer.Dispose();
    }

    /// <summary>Nothing is written any more: gives the memory back.</summary>
    public void Dispose()
    {
        int before = Interlocked.Exchange(ref _state, 2);
        if (before == 0)
        {
            _exposure.Dispose();
            _buffer.Dispose();
        }
        else if (before == 1)
        {
            _hold.Release();
        }
    }
}
