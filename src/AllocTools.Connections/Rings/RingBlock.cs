using AllocTools.Endpoints;

namespace AllocTools.Connections.Rings;

/// <summary>The memory of one direction at its reader, to which the peer may write.</summary>
/// <remarks>
/// The first block of a connection has words before its ring: at 0 the word in which the peer gives credit for the
/// other direction, and at 64 the source of this side's own credit writes. At 32 and 96 are the sources of the headers
/// with which its writer changes to another ring and ends the stream. Later blocks contain only a ring.
/// </remarks>
internal sealed unsafe class RingBlock : IDisposable
{
    /// <summary>The offset of the ring in a first block.</summary>
    public const int WordsLength = 128;

    /// <summary>The offset of the source of credit writes.</summary>
    public const int CreditSourceOffset = 64;

    /// <summary>The offset of the source of the header that changes to another ring.</summary>
    public const int SwitchSourceOffset = 32;

    /// <summary>The offset of the source of the header that ends the stream.</summary>
    public const int EndSourceOffset = 96;

    /// <summary>The bytes of a credit.</summary>
    public const int CreditLength = sizeof(long);

    /// <summary>The fewest bytes of a block.</summary>
    public const int Least = 1024;

    private readonly RmaBuffer _buffer;
    private readonly RmaExposure _exposure;
    private readonly byte* _address;
    private readonly int _offset;
    private readonly RingShare? _share;
    private readonly Lock _gate = new();
    private RmaHold _hold;
    private bool _isQuarantined;
    private bool _isDisposed;

    /// <summary>Creates the first block of a connection.</summary>
    /// <param name="pool">The pool.</param>
    /// <param name="length">The length of the whole block in bytes.</param>
    /// <exception cref="RmaException">The pool has no room.</exception>
    public RingBlock(IRmaMemoryPool pool, int length)
        : this(pool.Rent(length), isFirst: true)
    {
    }

    private RingBlock(RmaBuffer buffer, bool isFirst, RingShare? share = null)
    {
        IsFirst = isFirst;
        _offset = isFirst ? WordsLength : 0;
        _buffer = buffer;
        _share = share;
        BlockLength = buffer.Length;
        try
        {
            // A peer that announces bytes without writing them must not make this side read data of the pool's previous renter.
            _buffer.GetSpan(0, BlockLength).Clear();
            _exposure = _buffer.ExposeToOne(0, BlockLength, RmaAccess.RemoteWrite);
            _address = (byte*)_buffer.Address;
            Length = RingLengthOf(BlockLength, isFirst);
            Ring = _buffer.Memory.Slice(_offset, Length);
        }
        catch
        {
            _exposure?.Dispose();
            _buffer.Dispose();
            _share?.GiveBack(BlockLength);
            throw;
        }
    }

    /// <summary>Whether it has the connection's words, and stays as long as the connection.</summary>
    public bool IsFirst { get; }

    /// <summary>The length of the whole block in bytes.</summary>
    public long BlockLength { get; }

    /// <summary>The description for the peer.</summary>
    public RemoteMemory Remote => _exposure.Remote;

    /// <summary>The ring's length, a multiple of 16.</summary>
    public int Length { get; }

    /// <summary>The ring.</summary>
    public ReadOnlyMemory<byte> Ring { get; }

    /// <summary>The value of the credit word, which the peer writes.</summary>
    public long Credit => Volatile.Read(ref *(long*)_address);

    /// <summary>Creates a ring that is not the first one.</summary>
    /// <param name="pool">The pool.</param>
    /// <param name="share">Limits the memory of all connections in such rings.</param>
    /// <param name="length">The length in bytes; the ring gets the whole block of the pool, up to <paramref name="most"/>.</param>
    /// <param name="most">The most bytes.</param>
    /// <returns>The ring; null if there is no room for it.</returns>
    public static RingBlock? TryRent(IRmaMemoryPool pool, RingShare share, long length, long most)
    {
        if (!pool.TryRent(length, out RmaBuffer buffer))
            return null;
        long whole = Math.Min(buffer.Capacity, most) & ~15L;
        if (whole > length)
        {
            buffer.Dispose();
            if (!pool.TryRent(whole, out buffer))
                return null;
        }
        if (share.TryTake(buffer.Length))
            return new RingBlock(buffer, isFirst: false, share);
        buffer.Dispose();
        return null;
    }

    /// <summary>Returns the length of a ring in a block of that length.</summary>
    public static int RingLengthOf(long blockLength, bool isFirst) => (int)((blockLength - (isFirst ? WordsLength : 0)) & ~15L);

    /// <summary>Returns bytes of the ring, which the peer may change at any time.</summary>
    public ReadOnlySpan<byte> Bytes(int offset, int length) => new(_address + _offset + offset, length);

    /// <summary>Fills the source of a credit write.</summary>
    public RmaSlice PrepareCredit(long word)
    {
        *(long*)(_address + CreditSourceOffset) = word;
        return _buffer.Slice(CreditSourceOffset, CreditLength);
    }

    /// <summary>Fills the source of a header.</summary>
    public RmaSlice PrepareHeader(int offset, FrameHeader header, FrameForm form, long number, int connection)
    {
        var bytes = new Span<byte>(_address + offset, form.HeaderLength);
        header.WriteTo(bytes);
        form.Seal(bytes, number, connection);
        return _buffer.Slice(offset, form.HeaderLength);
    }

    /// <summary>
    /// Quarantines the memory: the peer may still write to it if the transport allows that, so it stays unused until
    /// <see cref="Dispose"/>.
    /// </summary>
    public void Quarantine()
    {
        lock (_gate)
        {
            if (_isQuarantined || _isDisposed)
                return;
            _isQuarantined = true;
            _hold = _buffer.Hold();
            _hold.Quarantine();
        }
        _exposure.Dispose();
        _buffer.Dispose();
    }

    /// <summary>Called when nothing is written any more: releases the memory.</summary>
    public void Dispose()
    {
        lock (_gate)
        {
            if (_isDisposed)
                return;
            _isDisposed = true;
        }
        _share?.GiveBack(BlockLength);
        // From here on no quarantine begins.
        if (_isQuarantined)
        {
            _hold.Release();
            return;
        }
        _exposure.Dispose();
        _buffer.Dispose();
    }
}
