using System.Runtime.CompilerServices;
using AllocTools.Endpoints.Drivers;
using AllocTools.Libfabric.Interop;

namespace AllocTools.Libfabric;

/// <summary>Reads the completion queue and reports what it finds. The caller must hold the progress turn.</summary>
internal sealed unsafe class CompletionReader(
    LibfabricContext context, CqHandle queue, PostedOperation[] posted, fi_context2* contexts, LibfabricDriver driver, ReceiveOverflow? overflow, DeliveryGauge? gauge, TaggedNotifications? tags)
{
    private const int BatchSize = 64;

    /// <summary>
    /// Bounds a progress turn under any load: a turn that does not end looks stuck, and prevents overdue operations from
    /// being ended.
    /// </summary>
    private const int MostBatches = 16;

    /// <summary>The shortest time-out of fi_cq_sread(3), in milliseconds.</summary>
    private const int ShortestRead = 1;

    private readonly fi_context2* _contexts = contexts;
    private readonly string _provider = context.Traits.ProviderName;
    private readonly bool _confirmsSends = context.Traits.SendsAreConfirmed;
    private readonly bool _sendersAreKnown = context.Traits.SendersAreKnown;

    /// <summary>
    /// Whether the writer of a notification is known. ofi_rxm does not report the source of a write; the queue's entry
    /// contains the value of an earlier message, or none.
    /// </summary>
    private readonly bool _writersAreKnown = context.Traits.SendersAreKnown && !context.Traits.ProviderName.EndsWith(";ofi_rxm", StringComparison.Ordinal);

    /// <summary>
    /// Whether the descriptor may stay signalled. With net of libfabric 1.17 and tcp of 1.18.0, fi_trywait leaves the
    /// signal of a completion that was already read; fi_cq_sread clears it.
    /// </summary>
    private readonly bool _signalMayStay = context.Traits.ProviderName is "net" or "tcp";

    /// <summary>Whether the last read emptied the queue.</summary>
    public bool WasEmptied { get; private set; }

    /// <summary>Reads the available completions, up to 1,024.</summary>
    /// <param name="completions">Receives the completions.</param>
    /// <param name="clearSignal">Whether the queue's descriptor was readable without a completion.</param>
    /// <returns>True if there were completions.</returns>
    [SkipLocalsInit]
    public bool Read(RmaDriverCompletions completions, bool clearSignal)
    {
        fi_cq_tagged_entry* entries = stackalloc fi_cq_tagged_entry[BatchSize];
        ulong* senders = stackalloc ulong[BatchSize];
        bool happened = false;
        WasEmptied = true;
        for (int i = 0; i < MostBatches; i++)
        {
            bool mayWait = clearSignal && _signalMayStay && i == 0;
            nint read = mayWait && _sendersAreKnown ? queue.SReadFrom(entries, BatchSize, senders, null, ShortestRead)
                : mayWait ? queue.SRead(entries, BatchSize, null, ShortestRead)
                : _sendersAreKnown ? queue.ReadFrom(entries, BatchSize, senders)
                : queue.Read(entries, BatchSize);
            if (read > 0)
            {
                for (int j = 0; j < read; j++)
                    OnCompletion(completions, entries[j], _sendersAreKnown ? senders[j] : FiConstants.FI_ADDR_NOTAVAIL);
                happened = true;
                if (read < BatchSize)
                    return true;
            }
            else if (read == -FiErrno.FI_EAVAIL)
            {
                ReadError(completions);
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

    private void OnCompletion(RmaDriverCompletions completions, in fi_cq_tagged_entry entry, ulong sender)
    {
        // This is a peer's write with a notification. It has no operation here, and its context is undefined.
        if ((entry.flags & FiFlags.FI_REMOTE_CQ_DATA) != 0 && (entry.flags & FiCaps.FI_RECV) == 0)
        {
            completions.Notify(entry.data, _writersAreKnown ? FindPeer(sender) : null);
            return;
        }
        if (tags is not null && tags.TryTake(entry))
        {
            completions.Notify(entry.tag, FindPeer(sender));
            return;
        }
        // A completion may be reported twice.
        int index = IndexOf(entry.op_context);
        if (index < 0 || !End(ref posted[index], index))
            return;
        ref PostedOperation operation = ref posted[index];
        if (operation.IsReceive)
        {
            long length = (long)entry.len;
            long room = completions[index].Length;
            if (length > room)
                overflow?.OnUsed(length - room);
            completions.Complete(index, length, FindPeer(sender));
        }
        else if (tags is not null && operation.Stage == SendStage.Send && completions[index] is { Notification: not null })
        {
            operation.Stage = SendStage.Notify;
            if (!completions.TryContinue(index, isNext: true))
                completions.Cancelled(index);
        }
        else if (operation.IsRead)
        {
            OnRead(completions, ref operation, index);
        }
        else if (operation.Flow is null || !GoOn(completions, ref operation, index))
        {
            completions.Complete(index, 0);
        }
    }

    private static void OnRead(RmaDriverCompletions completions, ref PostedOperation operation, int index)
    {
        bool isInVain = ReadMark.TryTakeBack(completions[index], operation.Mark, operation.Covered);
        operation.Mark = ~operation.Mark;
        operation.ReadsInVain = isInVain ? operation.ReadsInVain + 1 : 0;
        if (!isInVain)
            completions.Complete(index, 0);
        else if (operation.ReadsInVain == ReadMark.MostReads)
            completions.Fail(index, FiErrno.FI_EACCES, ReadMark.Reason);
        else if (!completions.TryContinue(index, isNext: true))
            completions.Cancelled(index);
    }

    private LibfabricPeer? FindPeer(ulong number) => number == FiConstants.FI_ADDR_NOTAVAIL ? null : driver.FindPeer(number);

    /// <summary>Notes that the fabric no longer uses a posted operation. Returns false if none was outstanding.</summary>
    private bool End(ref PostedOperation operation, int index)
    {
        if (!operation.IsOutstanding)
            return false;
        operation.IsOutstanding = false;
        if (operation.IsReceive)
            gauge?.OnReceiveEnded();
        operation.Flow?.EndAsking(index);
        return true;
    }

    /// <summary>Moves a send to its next stage.</summary>
    /// <returns>False if there is none because the send has ended.</returns>
    private bool GoOn(RmaDriverCompletions completions, ref PostedOperation operation, int index)
    {
        PeerFlow flow = operation.Flow!;
        switch (operation.Stage)
        {
            case SendStage.Ask:
                long waiting = *gauge!.AnswerOf(index);
                bool isAdmitted = waiting > 0;
                operation.Stage = isAdmitted ? SendStage.Admitted : SendStage.Send;
                // The message is posted before the window opens for others, which must not overtake it.
                if (!isAdmitted)
                    flow.OnAnswer(waiting);
                if (!completions.TryContinue(index, isNext: isAdmitted))
                    completions.Cancelled(index);
                if (isAdmitted)
                    flow.OnAnswer(waiting);
                return true;
            case SendStage.Confirm:
                flow.OnAnswer(*gauge!.AnswerOf(index));
                return false;
            default:
                if (!_confirmsSends)
                    return false;
                operation.Stage = SendStage.Confirm;
                return completions.TryContinue(index, isNext: true);
        }
    }

    private void ReadError(RmaDriverCompletions completions)
    {
        fi_cq_err_entry entry = default;
        nint read = queue.ReadErr(&entry, 0);
        if (read == -FiErrno.FI_EAGAIN)
            return;
        if (read < 0)
            throw LibfabricErrors.Provider(context.Library, _provider, "fi_cq_readerr", (int)read);
        // A receive of a notification has failed, for example because a program in C sent bytes with it; it is posted again.
        if (tags is not null && tags.TryTake(new fi_cq_tagged_entry { op_context = entry.op_context }))
            return;
        int index = IndexOf(entry.op_context);
        if (index < 0 || !End(ref posted[index], index))
            return;
        if (posted[index].IsRead)
            ReadMark.TryTakeBack(completions[index], posted[index].Mark, posted[index].Covered);
        // shm of 1.17 returns negative codes; an error entry without a code is still an error.
        int error = entry.err == 0 ? FiErrno.FI_EIO : Math.Abs(entry.err);
        // Transports report either the excess length or nothing.
        if (error == FiErrno.FI_ETRUNC && posted[index].IsReceive)
            completions.FailTruncated(index, entry.olen > 0 ? completions[index].Length + (long)entry.olen : null);
        else
            completions.Fail(index, error, entry.prov_errno != 0 ? queue.StrError(entry.prov_errno, entry.err_data) : "");
    }

    private int IndexOf(void* operation)
    {
        nint offset = (nint)operation - (nint)_contexts;
        return offset >= 0 && offset < (nint)posted.Length * sizeof(fi_context2) ? (int)(offset / sizeof(fi_context2)) : -1;
    }
}
