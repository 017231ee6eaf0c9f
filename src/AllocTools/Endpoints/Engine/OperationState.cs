using System.Diagnostics;

namespace AllocTools.Endpoints.Engine;

/// <summary>
/// The state of an operation from the fabric's point of view. Each transition is one compare-and-swap, so that only one
/// thread makes it.
/// </summary>
/// <remarks>
/// <code>
///                    Begin                                      TryEnd (its completion was read)
///        Free ----------------> Posted --------------------------------------------------------> Ended --SetFree--> Free
///                               |  ^ |  \                                                          ^
///                      TryQueue |  | |   \ TryCancel      TryEnd (given up, or completed)          |
///                               v  | |    +-> Cancelling -----------------------------------------+
///             TryRepost         Queued        |      |                                            |
///                               |    |        |      | TryLeaveUnposted (nothing was posted)      |
///                 TryEndQueued  |    |        |      v                                            |
///                               +----|--------|-- Unposted --TryEndQueued-------------------------+
///                                    |        |      |                                            |
///   TryBeginEnding (its owner is     |        |      |                                            |
///   notified; the fabric has it) ----+-&lt;Posted-+------+                                            |
///                                         v                                                       |
///                                      Ending --TryAbandon--> Abandoned --TryLetGo----------------+
///                                       | |                      | TryLeaveUnposted               |
///                                       | +-----TryRefuse------> Refused --TryLetGo---------------+
///                                       +--TryLetGo--> Late --SetFree--> Free
/// </code>
/// </remarks>
internal enum OperationState
{
    /// <summary>The slot is free.</summary>
    Free = 0,

    /// <summary>The operation is being posted, or was posted: its completion will arrive.</summary>
    Posted = 1,

    /// <summary>The transport was asked to cancel the operation; its completion may still arrive.</summary>
    Cancelling = 2,

    /// <summary>The transport did not accept the operation, which waits in the retry queue.</summary>
    Queued = 3,

    /// <summary>The transport did not accept the operation, and the turn had begun to cancel it meanwhile. The next turn ends it.</summary>
    Unposted = 4,

    /// <summary>The owner is being notified of the end, and the completion has not arrived.</summary>
    Ending = 5,

    /// <summary>
    /// Like <see cref="Ending"/>, but the completion has arrived meanwhile. The thread that notifies the owner also frees
    /// the slot.
    /// </summary>
    Late = 6,

    /// <summary>The owner was notified of the end; the completion has not arrived.</summary>
    Abandoned = 7,

    /// <summary>The fabric no longer uses the operation. The thread that set this state notifies the owner and frees the slot.</summary>
    Ended = 8,

    /// <summary>The transport did not accept the operation, and its owner was already notified. The next turn frees the slot.</summary>
    Refused = 9,
}

// The transitions of an operation's state: nothing else changes it.
internal sealed partial class OperationSlot
{
    private const int StateBits = 4;
    private const long StateMask = (1 << StateBits) - 1;

    // The state and the number of the use share one word, so that a thread that saw an earlier use can't change a later one.
    private long _word;

    /// <summary>The current state and use number, from which a transition is tried.</summary>
    public long Word => Volatile.Read(ref _word);

    /// <summary>How many times the slot was filled.</summary>
    public override long Use => UseOf(Word);

    public OperationState State => StateOf(Word);

    public static OperationState StateOf(long word) => (OperationState)(word & StateMask);

    public static long UseOf(long word) => word >> StateBits;

    /// <summary>The transport did not accept the operation, or it ended before it was posted. The caller ends it.</summary>
    public bool TryEndUnposted(long use) => TryMove(use, OperationState.Posted, OperationState.Ended);

    /// <summary>The fabric no longer uses the operation, and no other thread has ended it for its owner. The caller must do so.</summary>
    public bool TryEnd(long word) => TryChange(word, OperationState.Ended, OperationState.Posted, OperationState.Cancelling);

    /// <summary>The operation waits to be posted: the caller has put it into the retry queue.</summary>
    public bool TryQueue(long use) => TryMove(use, OperationState.Posted, OperationState.Queued);

    /// <summary>The operation is being posted from the retry queue.</summary>
    public bool TryRepost(long use) => TryMove(use, OperationState.Queued, OperationState.Posted);

    /// <summary>The operation ends while it waits to be posted. The caller ends it.</summary>
    public bool TryEndQueued(long word) => TryChange(word, OperationState.Ended, OperationState.Queued, OperationState.Unposted);

    /// <summary>The holder of the turn asks the transport to cancel the operation.</summary>
    public bool TryCancel(long word) => TryChange(word, OperationState.Cancelling, OperationState.Posted);

    /// <summary>The operation ends for its owner, which the caller notifies, while the fabric may still use it.</summary>
    public bool TryBeginEnding(long word) => TryChange(word, OperationState.Ending, OperationState.Posted, OperationState.Cancelling, OperationState.Unposted);

    /// <summary>The owner was notified. Returns false if the fabric has released the operation meanwhile, so that the caller must free it.</summary>
    public bool TryAbandon(long use) => TryMove(use, OperationState.Ending, OperationState.Abandoned);

    /// <summary>Like <see cref="TryAbandon"/>, for an operation that the transport did not accept.</summary>
    public bool TryRefuse(long use) => TryMove(use, OperationState.Ending, OperationState.Refused);

    /// <summary>The fabric has released an operation whose owner is being notified, or was notified.</summary>
    /// <returns>True if the caller must free it. False if the thread that notifies the owner does, or the state does not apply.</returns>
    public bool TryLetGo(long use)
    {
        if (TryMove(use, OperationState.Ending, OperationState.Late))
            return false;
        return TryMove(use, OperationState.Abandoned, OperationState.Ended) || TryMove(use, OperationState.Refused, OperationState.Ended);
    }

    /// <summary>The transport did not accept an operation that is being cancelled, or has ended for its owner. A turn frees it.</summary>
    /// <returns>False if its owner is being notified; try again.</returns>
    public bool TryLeaveUnposted(long use) =>
        TryMove(use, OperationState.Cancelling, OperationState.Unposted) || TryMove(use, OperationState.Abandoned, OperationState.Refused);

    /// <summary>A new use begins, and is about to be posted.</summary>
    private void Begin() => Interlocked.Exchange(ref _word, ((Use + 1) << StateBits) | (long)OperationState.Posted);

    /// <summary>Frees the slot after <see cref="OperationState.Ended"/> or <see cref="OperationState.Late"/>, when only the caller changes the state.</summary>
    private void SetFree() => Volatile.Write(ref _word, Word & ~StateMask);

    /// <summary>Changes a state that was read, and that must be one of several.</summary>
    private bool TryChange(long word, OperationState to, params ReadOnlySpan<OperationState> from)
    {
        Debug.Assert(from.Contains(StateOf(word)), $"there is no way from {StateOf(word)} to {to}");
        return Interlocked.CompareExchange(ref _word, (word & ~StateMask) | (long)to, word) == word;
    }

    /// <summary>Changes the state of a use that was in one state, and may be in another by now.</summary>
    private bool TryMove(long use, OperationState from, OperationState to)
    {
        long word = (use << StateBits) | (long)from;
        return Interlocked.CompareExchange(ref _word, (use << StateBits) | (long)to, word) == word;
    }
}
