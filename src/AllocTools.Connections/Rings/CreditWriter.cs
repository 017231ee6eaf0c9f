using AllocTools.Endpoints;
using AllocTools.Endpoints.Engine;

namespace AllocTools.Connections.Rings;

/// <summary>Gives the writer credit for consumed bytes: with a frame of the other direction, or by a separate write once a quarter of the ring is due.</summary>
/// <remarks>At most one such write is in flight. Invariant: _given ≤ <see cref="Freed"/>.</remarks>
/// <param name="owner">The connection.</param>
/// <param name="form">The form of credit.</param>
/// <param name="gate">The reader's lock.</param>
/// <param name="words">The block with the source of such writes.</param>
internal sealed class CreditWriter(IRingOwner owner, FrameForm form, Lock gate, RingBlock words) : IOperationOwner
{
    private CreditTarget? _target;
    private long _given;

    /// <summary>The bytes of all rings that were freed since the start. The caller must hold the lock.</summary>
    public long Freed { get; set; }

    /// <summary>The number of bytes that justify a separate write. The caller must hold the lock.</summary>
    public int Threshold { get; set; }

    /// <summary>Whether a write is in flight. The caller must hold the lock.</summary>
    public bool IsWriting { get; private set; }

    /// <summary>Called when credit is no longer useful. The caller must hold the lock.</summary>
    public bool IsOver { get; set; }

    /// <summary>Whether the place to which credit is written is known. The caller must hold the lock.</summary>
    public bool IsStarted => _target is not null;

    public void Start(CreditTarget target)
    {
        lock (gate)
            _target = target;
        Give();
    }

    /// <summary>Takes the credit that goes with a frame of the other direction.</summary>
    /// <param name="taken">The credit, to return it if the frame is not sent.</param>
    public long Take(out CreditTaken taken)
    {
        lock (gate)
        {
            taken = new CreditTaken(_given, IsTaken: true);
            return _given = Freed;
        }
    }

    /// <summary>Called when a frame was not sent after all, so that its credit is due again.</summary>
    public void GiveBack(CreditTaken taken)
    {
        if (!taken.IsTaken)
            return;
        lock (gate)
            _given = Math.Min(_given, taken.Before);
        Give();
    }

    /// <summary>Writes credit that is due, unless a write is in flight. The caller must not hold the lock.</summary>
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
            source = words.PrepareCredit(form.EncodeCredit(Freed, Notice.Decode(target.Notification).Connection));
        }
        if (owner.TryStart(RmaOperation.WriteAndNotify(source, target.Word, target.Notification), this))
            return;
        lock (gate)
        {
            IsWriting = false;
            // It must be found to be due again.
            _given = before;
        }
        owner.RetryLater();
    }

    /// <summary>Called when the credit was written, or could not be.</summary>
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
/// <param name="Before">The credit before it.</param>
/// <param name="IsTaken">Whether credit was taken at all.</param>
internal readonly record struct CreditTaken(long Before, bool IsTaken);

/// <summary>The place to which credit is written.</summary>
/// <param name="Word">The peer's credit word.</param>
/// <param name="Notification">The notification that announces it there.</param>
internal sealed record CreditTarget(RemoteSlice Word, ulong Notification);
