using System.Diagnostics;

namespace AllocTools.Endpoints.Engine;

/// <summary>Where an operation is, seen from the fabric. Each change is one compare-and-swap, so each has one winner.</summary>
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
    /// <summary>The slot is in no use.</summary>
    Free = 0,

    /// <summary>It is being posted, or was: its completion will come.</summary>
    Posted = 1,

    /// <summary>The transport was asked to give it up; its completion may still come.</summary>
    Cancelling = 2,

    /// <summary>The transport took nothing; it waits in the retry queue.</summary>
    Queued = 3,

    /// <summary>The transport took nothing, and the turn had begun to cancel it meanwhile: the next turn ends it.</summary>
    Unposted = 4,

    /// <summary>Its owner is being notified that it is over, and its completion has not come.</summary>
    Ending = 5,

    /// <summary>As <see cref="Ending"/>, and its completion came meanwhile: the thread that notifies the owner frees the slot, too.</summary>
    Late = 6,

    /// <summary>Its owner was notified that it is over; its completion has not come.</summary>
    Abandoned = 7,

    /// <summary>The fabric is done with it. The thread that brought it here notifies the owner and frees the slot.</summary>
    Ended = 8,

    /// <summary>The transport took nothing, and its owner was notified already: the next turn frees the slot.</summary>
    Refused = 9,
}

// The transitions of an operation's state: nothing else changes it.
internal sealed partial class OperationSlot
{
    private const int StateBits = 4;
    private const long StateMask = (1 << StateBits) - 1;

    // The state and the number of the use in one word, so that no thread changes a later use by what it saw of an earlier one.
    private long _word;

    /// <summary>The state and the number of the use, as it is now: what a transition is tried from.</summary>
    public long Word => Volatile.Read(ref _word);

    /// <summary>How many times the slot was filled.</summary>
    public override long Use => UseOf(Word);

    public OperationState State => StateOf(Word);

    public static OperationState StateOf(long word) => (OperationState)(word & StateMask);

    public static long UseOf(long word) => word >> StateBits;

    /// <summary>The transport did not take it, or it ended before it was posted. The caller ends it.</summary>
    public bool TryEndUnposted(long use) => TryMove(use, OperationState.Posted, OperationState.Ended);

    /// <summary>The fabric is done with it, and no other thread has ended it for its owner. The caller does.</summary>
    public bool TryEnd(long word) => TryChange(word, OperationState.Ended, OperationState.Posted, OperationState.Cancelling);

    /// <summary>It waits to be posted: the caller has put it into the retry queue.</summary>
    public bool TryQueue(long use) => TryMove(use, OperationState.Posted, OperationState.Queued);

    /// <summary>It is being posted from the retry queue.</summary>
    public bool TryRepost(long use) => TryMove(use, OperationState.Queued, OperationState.Posted);

    /// <summary>It is over while it waits to be posted. The caller ends it.</summary>
    public bool TryEndQueued(long word) => TryChange(word, OperationState.Ended, OperationState.Queued, OperationState.Unposted);

    /// <summary>The transport is asked to give it up, by the turn's holder.</summary>
    public bool TryCancel(long word) => TryChange(word, OperationState.Cancelling, OperationState.Posted);

    /// <summary>It is over for its owner, whom the caller notifies, while the fabric may have it.</summary>
    public bool TryBeginEnding(long word) => TryChange(word, OperationState.Ending, OperationState.Posted, OperationState.Cancelling, OperationState.Unposted);

    /// <summary>Its owner was notified. False: the fabric has let go meanwhile, and the caller frees it.</summary>
    public bool TryAbandon(long use) => TryMove(use, OperationState.Ending, OperationState.Abandoned);

    /// <summary>As <see cref="TryAbandon"/>, of one that the transport did not take.</summary>
    public bool TryRefuse(long use) => TryMove(use, OperationState.Ending, OperationState.Refused);

    /// <summary>The fabric has let go of one whose owner is notified, or was.</summary>
    /// <returns>True: the caller frees it. False: the thread that notifies the owner does, or it was no such one.</returns>
    public bool TryLetGo(long use)
    {
        if (TryMove(use, OperationState.Ending, OperationState.Late))
            return false;
        return TryMove(use, OperationState.Abandoned, OperationState.Ended) || TryMove(use, OperationState.Refused, OperationState.Ended);
    }

    /// <summary>The transport took nothing of one that is being cancelled, or is over for its owner. A turn frees it.</summary>
    /// <returns>False: its owner is being notified; try again.</returns>
    public bool TryLeaveUnposted(long use) =>
        TryMove(use, OperationState.Cancelling, OperationState.Unposted) || TryMove(use, OperationState.Abandoned, OperationState.Refused);

    /// <summary>A new use begins, and is about to be posted.</summary>
    private void Begin() => Interlocked.Exchange(ref _word, ((Use + 1) << StateBits) | (long)OperationState.Posted);

    /// <summary>After <see cref="OperationState.Ended"/> or <see cref="OperationState.Late"/>: only the caller changes it.</summary>
    private void SetFree() => Volatile.Write(ref _word, Word & ~StateMask);

    /// <summary>Changes what was seen, in one of some states.</summary>
    private bool TryChange(long word, OperationState to, params ReadOnlySpan<OperationState> from)
    {
        Debug.Assert(from.Contains(StateOf(word)), $"there is no way from {StateOf(word)} to {to}");
        return Interlocked.CompareExchange(ref _word, (word & ~StateMask) | (long)to, word) == word;
    }

    /// <summary>Changes a use that is in one state, and may be in another by now.</summary>
    private bool TryMove(long use, OperationState from, OperationState to)
    {
        long word = (use << StateBits) | (long)from;
        return Interlocked.CompareExchange(ref _word, (use << StateBits) | (long)to, word) == word;
    }
}
