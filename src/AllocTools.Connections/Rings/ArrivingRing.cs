using AllocTools.Endpoints;

namespace AllocTools.Connections.Rings;

/// <summary>This side's ring, which the peer fills: runs are processed in order, and are checked because the peer may be hostile.</summary>
/// <remarks>
/// <para>
/// A ring that is too small is replaced: another one is offered to the writer, whose last frame in the old ring
/// announces the change. The old ring is released once the consumer has consumed its contents.
/// </para>
/// Invariant: the used part of the ring, _received - max(Freed, _ringStart), is at most its length. The caller of any
/// member must hold the reader's lock.
/// </remarks>
internal sealed class ArrivingRing
{
    /// <summary>How many runs may be announced before the expected one; more than a writer has in flight.</summary>
    private const int Window = 64;

    private readonly IRingOwner _owner;
    private readonly FrameForm _form;
    private readonly int _number;
    private readonly RingBlock _first;
    private readonly CreditWriter _credit;
    private readonly ReceivedBytes _bytes;
    private readonly Queue<(RingBlock Ring, long Until)> _retiring = new();
    private RingBlock _ring;
    private RingBlock? _offered;
    private bool _isOffering;

    // In bytes of all rings, since the start.
    private long _received;
    private long _ringStart;
    private int _offset;
    private int _nextSequence;
    private long _frames;
    private ulong _arrived;
    private ulong _atStart;

    /// <param name="owner">The connection.</param>
    /// <param name="form">The form of frames.</param>
    /// <param name="number">This side's number of the connection.</param>
    /// <param name="first">The first block.</param>
    /// <param name="credit">Returns credit for consumed bytes.</param>
    /// <param name="bytes">Receives the arrived bytes.</param>
    public ArrivingRing(IRingOwner owner, FrameForm form, int number, RingBlock first, CreditWriter credit, ReceivedBytes bytes)
    {
        _owner = owner;
        _form = form;
        _number = number;
        _first = _ring = first;
        _credit = credit;
        _bytes = bytes;
        credit.Threshold = first.Length / 4;
    }

    /// <summary>The length of the ring in bytes.</summary>
    public int Length => _ring.Length;

    /// <summary>The length of the block that contains the ring, in bytes.</summary>
    public long BlockLength => _ring.BlockLength;

    /// <summary>Whether the peer's stream has ended.</summary>
    public bool IsEnded { get; private set; }

    /// <summary>Called when nothing is read any more: arriving bytes are freed immediately.</summary>
    public bool IsSkipping { get; set; }

    /// <summary>The damage that was found, after which nothing more is accepted; null if there is none.</summary>
    public RmaIntegrityException? Damage { get; private set; }

    /// <summary>Bytes of the ring that are not free.</summary>
    public long Used => _received - Math.Max(_credit.Freed, _ringStart);

    /// <summary>Begins to replace the ring, unless that is already in progress.</summary>
    /// <param name="isFirst">Whether the first ring replaces it, which may contain unconsumed bytes.</param>
    public bool TryBeginOffer(bool isFirst)
    {
        if ((isFirst && (_ring == _first || _retiring.Count > 0)) || _isOffering || _offered is not null || IsEnded)
            return false;
        return _isOffering = true;
    }

    /// <summary>The ring to offer to the writer; null if there is none after all.</summary>
    public void Offer(RingBlock? ring)
    {
        _isOffering = false;
        _offered = ring;
    }

    /// <summary>Called when a run was announced.</summary>
    /// <param name="sequence">Its number.</param>
    /// <param name="atStart">Whether it is at the start of the ring.</param>
    /// <param name="credit">The credit that arrived with the next runs.</param>
    /// <param name="wantsMore">Whether the writer had to wait although the consumer keeps up, so that the ring is too small.</param>
    /// <returns>The error in it, which is <see cref="Damage"/>'s if there is one; null if there is none.</returns>
    public string? OnRun(int sequence, bool atStart, ref long credit, ref bool wantsMore)
    {
        if (Damage is not null)
            return null;
        int ahead = (sequence - _nextSequence) & Notice.SequenceMask;
        if (ahead >= Window || ((_arrived >> ahead) & 1) != 0)
            return "a run was announced twice, or far too early";
        _arrived |= 1UL << ahead;
        _atStart |= atStart ? 1UL << ahead : 0;
        string? mistake = null;
        while ((_arrived & 1) != 0 && mistake is null)
        {
            mistake = TakeRun((_atStart & 1) != 0, ref credit, ref wantsMore);
            _arrived >>= 1;
            _atStart >>= 1;
            _nextSequence = (_nextSequence + 1) & Notice.SequenceMask;
        }
        return mistake;
    }

    /// <summary>Called when bytes were consumed, or copied out.</summary>
    public void Free(int bytes)
    {
        _credit.Freed += bytes;
        while (_retiring.TryPeek(out (RingBlock Ring, long Until) oldest) && oldest.Until <= _credit.Freed)
        {
            _retiring.Dequeue();
            if (!oldest.Ring.IsFirst)
                _owner.Retire(oldest.Ring);
        }
    }

    private string? TakeRun(bool atStart, ref long credit, ref bool wantsMore)
    {
        if (IsEnded)
            return "a frame came after the end of the stream";
        RingBlock ring = _ring;
        int offset = atStart ? 0 : _offset;
        int skipped = atStart ? ring.Length - _offset : 0;
        if (offset > ring.Length - _form.HeaderLength)
            return "a run was announced at the end of the ring";
        // Each header is read once: the peer may change it at any time.
        Span<byte> bytes = stackalloc byte[FrameForm.MostHeader];
        bytes = bytes[.._form.HeaderLength];
        if (!TryReadHeader(ring, offset, bytes, out FrameHeader header))
            return Damage!.Message;
        int run = header.RunLength;
        if (run < _form.HeaderLength || run % FrameHeader.Length != 0 || run > ring.Length - offset || skipped + (long)run > ring.Length - Used)
            return $"a run of {run} bytes does not fit into the ring, or was sent without credit";
        credit = Math.Max(credit, header.Credit);
        for (int at = 0; at < run;)
        {
            if (at > 0 && run - at >= bytes.Length && !TryReadHeader(ring, offset + at, bytes, out header))
                return Damage!.Message;
            int length = _form.FrameLength(header.PayloadLength);
            if (length > run - at || IsEnded || ring != _ring)
                return $"a frame of {header.PayloadLength} bytes does not fit into its run";
            Damage = _form.CheckData(bytes, ring.Bytes(offset + at, length)[bytes.Length..], _bytes.Position);
            if (Damage is not null)
                return Damage.Message;
            _frames++;
            Append(offset + at + bytes.Length, header.PayloadLength, length + (at == 0 ? skipped : 0));
            IsEnded |= (header.Flags & FrameFlags.EndOfStream) != 0;
            wantsMore |= (header.Flags & FrameFlags.Stalled) != 0 && Used <= ring.Length / 2;
            if ((header.Flags & FrameFlags.Switch) != 0 && !TrySwitch())
                return "it switched to a ring that was not offered";
            at += length;
        }
        if (ring == _ring)
            _offset = offset + run;
        return null;
    }

    private bool TryReadHeader(RingBlock ring, int offset, Span<byte> bytes, out FrameHeader header)
    {
        ring.Bytes(offset, bytes.Length).CopyTo(bytes);
        header = FrameHeader.Read(bytes);
        Damage = _form.CheckHeader(bytes, _frames, _number, _bytes.Position);
        return Damage is null;
    }

    private void Append(int offset, int payload, int ringBytes)
    {
        _received += ringBytes;
        if (IsSkipping)
        {
            _bytes.Skip(payload);
            Free(ringBytes);
            return;
        }
        int free = _bytes.Append(_ring.Ring.Slice(offset, payload), ringBytes);
        if (free > 0)
            Free(free);
    }

    /// <summary>Called when the writer continues in the offered ring.</summary>
    private bool TrySwitch()
    {
        if (_offered is not { } next)
            return false;
        _retiring.Enqueue((_ring, _received));
        _ring = next;
        _offered = null;
        _ringStart = _received;
        _offset = 0;
        _credit.Threshold = next.Length / 4;
        Free(0);
        return true;
    }
}
