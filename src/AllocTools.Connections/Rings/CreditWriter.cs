using AllocTools.Endpoints;
using AllocTools.Endpoints.Engine;

namespace AllocTools.Connections.Rings;

/// <summary>Gives the writer credit for what was consumed: by a frame of the other direction, or by a write of its own once a quarter of the ring is due.</summary>
/// <remarks>At most one such write is on its way. Invariant: _given ≤ <see cref="Freed"/>.</remarks>
/// <param name="owner">The connection.</param>
/// <param name="gate">The reader's lock.</param>
/// <param name="words">The block that has the source of such writes.</param>
internal sealed class CreditWriter(IRingOwner owner, Lock gate, RingBlock words) : IOperationOwner
{
    private CreditTarget? _target;
    private long _given;

    /// <summary>Bytes of all rings that came free since the start. The caller must hold the lock.</summary>
    public long Freed { get; set; }

    /// <summary>How many bytes are worth a write of their own. The caller must hold the lock.</summary>
    public int Threshold { get; set; }

    /// <summary>A write is on its way. The caller must hold the lock.</summary>
    public bool IsWriting { get; private set; }

    /// <summary>Credit is of no use any more. The caller must hold the lock.</summary>
    public bool IsOver { get; set; }

    /// <summary>It is known where credit is written to. The caller must hold the lock.</summary>
    public bool IsStarted => _target is not null;

    public void Start(CreditTarget target)
    {
        lock (gate)
            _target = target;
        Give();
    }

    /// <summary>Takes the credit that goes with a frame of the other direction.</summary>
    /// <param name="taken">To give it back, where the frame does not go.</param>
    public long Take(out CreditTaken taken)
    {
        lock (gate)
        {
            taken = new CreditTaken(_given, IsTaken: true);
            return _given = Freed;
        }
    }

    /// <summary>A frame did not go after all, so its credit is due again.</summary>
    public void GiveBack(CreditTaken taken)
    {
        if (!taken.IsTaken)
            return;
        lock (gate)
            _given = Math.Min(_given, taken.Before);
        Give();
    }

    /// <summary>Writes the credit where it is due and none is on its way. The caller must not hold the lock.</summary>
    public void Give()
    {
        RmaSlice source;
        CreditTarget target;
        long before;
        lock (gate)
        {
            if (_target is not { } known || IsWriting || IsOver || Freed - _given < Threshold)
                return;
            target = known;
            IsWriting = true;
            before = _given;
            _given = Freed;
            source = words.PrepareCredit(Freed);
        }
        if (owner.TryStart(RmaOperation.WriteAndNotify(source, target.Word, target.Notification), this))
            return;
        lock (gate)
        {
            IsWriting = false;
            // It has to be found due again.
            _given = before;
        }
        owner.RetryLater();
    }

    /// <summary>The credit was written, or not.</summary>
    public void OnEnded(ulong context, Exception? error)
    {
        lock (gate)
            IsWriting = false;
        if (error is not null)
            owner.OnWriteFailed(error);
        else
            Give();
        owner.OnOperationEnded();
    }

    /// <inheritdoc/>
    public void OnAbandoned(ulong context, Exception error)
    {
        owner.OnWriteAbandoned();
        OnEnded(context, error);
    }
}

/// <summary>Credit that was taken for a frame.</summary>
/// <param name="Before">What had been given before.</param>
/// <param name="IsTaken">False for none.</param>
internal readonly record struct CreditTaken(long Before, bool IsTaken);

/// <summary>Where credit is written to.</summary>
/// <param name="Word">The peer's credit word.</param>
/// <param name="Notification">What announces it there.</param>
internal sealed record CreditTarget(RemoteSlice Word, ulong Notification);
