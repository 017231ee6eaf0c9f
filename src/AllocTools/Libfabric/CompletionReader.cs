using System.Runtime.CompilerServices;
using AllocTools.Endpoints.Engine;
using AllocTools.Libfabric.Interop;

namespace AllocTools.Libfabric;

/// <summary>Reads the completion queue and ends the operations whose completions it finds. The caller must hold the progress turn.</summary>
/// <remarks>A completion can be read before the call that posted its operation has returned.</remarks>
internal sealed unsafe class CompletionReader(
    LibfabricContext context, CqHandle queue, OperationSlot[] slots, fi_context2* contexts, OperationDispatch dispatch, OperationEnding ending, PeerLosses losses, ReceiveOverflow? overflow, DeliveryGauge? gauge)
{
    private const int BatchSize = 64;

    /// <summary>So that a turn ends under any load: one that does not looks stuck, and keeps what is overdue from being ended.</summary>
    private const int MostBatches = 16;

    private readonly fi_context2* _contexts = contexts;
    private readonly string _provider = context.Traits.ProviderName;
    private readonly bool _confirmsSends = context.Traits.SendsAreConfirmed;

    /// <summary>The last read went on until nothing was there any more.</summary>
    public bool WasEmptied { get; private set; }

    /// <summary>Reads what is there, up to 1,024 completions.</summary>
    /// <param name="milliseconds">How long to wait for the first one, inside the transport.</param>
    /// <returns>True where anything was.</returns>
    [SkipLocalsInit]
    public bool Read(int milliseconds = 0)
    {
        fi_cq_msg_entry* entries = stackalloc fi_cq_msg_entry[BatchSize];
        bool happened = false;
        WasEmptied = true;
        for (int i = 0; i < MostBatches; i++)
        {
            nint read = milliseconds == 0 || i > 0 ? queue.Read(entries, BatchSize) : queue.SRead(entries, BatchSize, null, milliseconds);
            if (read > 0)
            {
                for (int j = 0; j < read; j++)
                    OnCompletion(entries[j].op_context, (long)entries[j].len);
                happened = true;
                if (read < BatchSize)
                    return true;
            }
            else if (read == -FiErrno.FI_EAVAIL)
            {
                ReadError();
                happened = true;
            }
            else if (read == -FiErrno.FI_EAGAIN || read == -FiErrno.FI_EINTR || read == 0)
            {
                return happened;
            }
            else
            {
                throw LibfabricErrors.Provider(context.Library, _provider, "fi_cq_read", (int)read);
            }
        }
        WasEmptied = false;
        return true;
    }

    private void OnCompletion(void* operation, long length)
    {
        // A peer's write with data completes here without an operation of ours; a completion may come twice.
        if (FindSlot(operation) is not { } slot)
            return;
        long word = slot.Word;
        OperationState state = OperationSlot.StateOf(word);
        OnFabricIsDone(slot, state);
        if (state is OperationState.Posted or OperationState.Cancelling && slot.Flow is { } flow && GoOn(slot, flow, word, state))
            return;
        if (state is OperationState.Posted or OperationState.Cancelling)
        {
            if (slot.Stage != SendStage.Confirm)
                slot.Transferred += slot.Kind == RmaOperationKind.Receive ? length : slot.PartLength;
            bool isWhole = slot.Kind == RmaOperationKind.Receive || slot.Transferred == slot.Length;
            if (!isWhole && state == OperationState.Posted)
            {
                dispatch.PostNextPart(slot, OperationSlot.UseOf(word));
                return;
            }
            if (slot.TryChange(word, OperationState.Ended))
            {
                if (slot.Kind == RmaOperationKind.Receive && slot.Transferred > slot.Length)
                    FailTruncated(slot);
                else if (isWhole)
                    ending.Succeed(slot);
                else
                    ending.Fail(slot, ending.OverdueError(slot, isHeld: false));
                return;
            }
        }
        OperationEnding.LetGo(slot, OperationSlot.UseOf(word));
    }

    /// <summary>What other operations are told by, whoever has ended this one.</summary>
    private void OnFabricIsDone(OperationSlot slot, OperationState state)
    {
        if (state is OperationState.Free or OperationState.Ended)
            return;
        if (slot.Kind == RmaOperationKind.Receive)
            gauge?.OnReceiveEnded();
        slot.Flow?.EndAsking(slot);
    }

    /// <summary>Takes a send to its next stage.</summary>
    /// <returns>False where there is none: it has ended.</returns>
    private bool GoOn(OperationSlot slot, PeerFlow flow, long word, OperationState state)
    {
        long use = OperationSlot.UseOf(word);
        switch (slot.Stage)
        {
            case SendStage.Ask when state == OperationState.Posted:
                long waiting = *gauge!.AnswerOf(slot);
                if (waiting > 0)
                {
                    slot.Stage = SendStage.Admitted;
                    // Before the window opens for others, which must not overtake it.
                    dispatch.PostNextPart(slot, use);
                    flow.OnAnswer(waiting);
                    return true;
                }
                slot.Stage = SendStage.Send;
                flow.OnAnswer(waiting);
                dispatch.QueueFirst(slot, use);
                return true;
            case SendStage.Ask:
                // Nothing was sent.
                if (slot.TryChange(word, OperationState.Ended))
                    ending.Fail(slot, ending.OverdueError(slot, isHeld: false));
                else
                    OperationEnding.LetGo(slot, use);
                return true;
            case SendStage.Confirm:
                flow.OnAnswer(*gauge!.AnswerOf(slot));
                return false;
            default:
                if (!_confirmsSends || state != OperationState.Posted)
                    return false;
                slot.Transferred = slot.Length;
                slot.Stage = SendStage.Confirm;
                dispatch.PostNextPart(slot, use);
                return true;
        }
    }

    /// <summary>The rest of the message is in the overflow, which nobody reads.</summary>
    private void FailTruncated(OperationSlot slot)
    {
        overflow?.OnUsed(slot.Transferred - slot.Length);
        ending.Fail(slot, LibfabricErrors.Truncated(_provider, slot.Length, slot.Transferred));
    }

    private void ReadError()
    {
        fi_cq_err_entry entry = default;
        nint read = queue.ReadErr(&entry, 0);
        if (read == -FiErrno.FI_EAGAIN)
            return;
        if (read < 0)
            throw LibfabricErrors.Provider(context.Library, _provider, "fi_cq_readerr", (int)read);
        if (FindSlot(entry.op_context) is not { } slot)
            return;
        long word = slot.Word;
        OperationState state = OperationSlot.StateOf(word);
        OnFabricIsDone(slot, state);
        if (state is OperationState.Posted or OperationState.Cancelling)
        {
            // shm of 1.17 gives negative codes; an error entry without a code is one all the same.
            int error = entry.err == 0 ? FiErrno.FI_EIO : Math.Abs(entry.err);
            Exception failure = error == FiErrno.FI_ECANCELED && state == OperationState.Cancelling
                ? ending.OverdueError(slot, isHeld: false)
                // Transports report the excess, or nothing.
                : error == FiErrno.FI_ETRUNC && slot.Kind == RmaOperationKind.Receive
                ? LibfabricErrors.Truncated(_provider, slot.Length, entry.olen > 0 ? slot.Length + (long)entry.olen : null)
                : losses.Note(slot, error) as Exception
                ?? LibfabricErrors.Completion(
                    context.Library, _provider, slot.Kind, slot.Length, error, entry.prov_errno != 0 ? queue.StrError(entry.prov_errno, entry.err_data) : "");
            if (slot.TryChange(word, OperationState.Ended))
            {
                ending.Fail(slot, failure);
                return;
            }
        }
        OperationEnding.LetGo(slot, OperationSlot.UseOf(word));
    }

    private OperationSlot? FindSlot(void* operation)
    {
        nint offset = (nint)operation - (nint)_contexts;
        return offset >= 0 && offset < (nint)slots.Length * sizeof(fi_context2) ? slots[offset / sizeof(fi_context2)] : null;
    }
}
