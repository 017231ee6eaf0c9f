using AllocTools.Pooling;

namespace AllocTools;

/// <summary>
/// Keeps a buffer's memory from being rented again while an operation may touch it, even if the buffer is disposed
/// meanwhile: then the memory comes back when the last hold ends. Taken by <see cref="RmaSlice.Hold"/>, ended exactly
/// once by <see cref="Release"/>.
/// </summary>
/// <remarks>This is a mutable value: copies share nothing, so its owner must keep it in one place.</remarks>
internal struct RmaHold
{
    private Slab? _slab;
    private readonly int _index;
    private bool _quarantined;

    internal RmaHold(Slab slab, int index)
    {
        _slab = slab;
        _index = index;
    }

    /// <summary>True from the time it is taken until <see cref="Release"/>.</summary>
    public readonly bool IsActive => _slab is not null;

    /// <summary>
    /// The address of the buffer's first byte; 0 once the hold is released. Unlike <see cref="RmaBuffer.Address"/>, it
    /// is available even if the buffer was disposed meanwhile.
    /// </summary>
    public readonly nint Address => _slab?.AddressOf(_index) ?? 0;

    /// <summary>The local descriptor of the buffer's registration.</summary>
    public readonly nint LocalDescriptor => _slab?.Region.LocalDescriptor ?? 0;

    /// <summary>Takes another hold of the same buffer, while this one is active; the buffer may have been disposed meanwhile.</summary>
    public readonly RmaHold Again()
    {
        Slab slab = _slab!;
        slab.HoldAgain(_index);
        return new RmaHold(slab, _index);
    }

    /// <summary>
    /// Reports that the operation timed out, or that its exposure could not be ended, so that the memory may still be
    /// touched. From now on the buffer may be returned, but it is not rented again before <see cref="Release"/>.
    /// </summary>
    public void Quarantine()
    {
        if (_slab is null || _quarantined)
            return;
        _quarantined = true;
        _slab.QuarantineHold(_index);
    }

    /// <summary>
    /// Ends the hold: the operation can't touch the memory any more, because its completion was read or its endpoint
    /// was closed.
    /// </summary>
    public void Release()
    {
        Slab? slab = _slab;
        if (slab is null)
            return;
        _slab = null;
        slab.ReleaseHold(_index, _quarantined ? HoldKind.Quarantined : HoldKind.Counted);
    }
}
