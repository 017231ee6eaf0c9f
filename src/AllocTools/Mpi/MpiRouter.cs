using System.Collections.Concurrent;
using System.Diagnostics;
using System.Numerics;
using System.Runtime.InteropServices;
using AllocTools.Mpi.Interop;

namespace AllocTools.Mpi;

/// <summary>Distributes messages that arrive at the process to its endpoints. Any endpoint that makes a progress turn does so for all.</summary>
/// <remarks>
/// A process is one rank and may have many endpoints. Therefore a tag contains the numbers of both endpoints and the
/// kind of the message, and messages are taken by MPI_Improbe with any tag, in the order in which they were sent.
/// Numbers are assigned in rotation, so that one is reused only after all others. A message to a closed endpoint is
/// kept, and its sender is notified. It is dropped only when the sender has answered, because MPI then reports it to
/// the sender as received.
/// </remarks>
internal sealed unsafe class MpiRouter(MpiJob job)
{
    private const int KindBits = 2;
    private const int KindMask = (1 << KindBits) - 1;
    private const int MostBits = 14;

    /// <summary>The maximum number of messages that a progress turn takes.</summary>
    private const int MostAtOnce = 64;

    private readonly ConcurrentDictionary<int, MpiDriver> _drivers = new();
    private readonly Lock _numbers = new();
    private readonly ConcurrentQueue<Pending> _started = new();

    // These are used only by the thread that is inside.
    private readonly List<Pending> _pending = [];
    private readonly List<(int To, MpiArrival Arrival)> _strays = [];
    private readonly List<MpiLeftover> _leftovers = [];
    private int _isInside;
    private int _unsettled;
    private int _bits;
    private int _last;

    /// <summary>The highest number that an endpoint may have.</summary>
    public int HighestNumber => (1 << _bits) - 1;

    /// <param name="largestTag">MPI_TAG_UB.</param>
    public void Configure(int largestTag) => _bits = Math.Min((BitOperations.Log2((uint)largestTag + 1) - KindBits) / 2, MostBits);

    /// <summary>
    /// Whether closed endpoints have unfinished work, which the open ones may not process if their callers make
    /// progress; or whether there are no endpoints, and messages may arrive.
    /// </summary>
    public bool NeedsThread(int contexts) => Volatile.Read(ref _unsettled) > 0 || (_drivers.IsEmpty && (contexts > 0 || !_started.IsEmpty));

    /// <summary>Assigns a number to an endpoint.</summary>
    public int Add(MpiDriver driver)
    {
        lock (_numbers)
        {
            for (int tries = 0; tries <= HighestNumber; tries++)
            {
                _last = (_last + 1) & HighestNumber;
                if (_drivers.TryAdd(_last, driver))
                    return _last;
            }
        }
        throw new RmaProviderException($"An MPI process can have at most {HighestNumber + 1} endpoints, and that many are open. Close some.");
    }

    /// <summary>Called when an endpoint is closed. Its arrived messages are then handled like later ones.</summary>
    /// <param name="number">The endpoint's number.</param>
    /// <param name="left">Returns the endpoint's unreceived messages.</param>
    /// <param name="leftover">The endpoint's unfinished MPI operations; may be null. They are not processed any more
    /// at the end of the process.</param>
    public void Remove(int number, Func<IReadOnlyList<MpiArrival>> left, MpiLeftover? leftover)
    {
        if (!job.TryEnter())
        {
            _drivers.TryRemove(number, out _);
            return;
        }
        Enter();
        try
        {
            _drivers.TryRemove(number, out _);
            foreach (MpiArrival arrival in left())
                TakeForClosed(number, arrival);
            if (leftover is not null)
            {
                leftover.BeginFlush();
                _leftovers.Add(leftover);
            }
            CountUnsettled();
        }
        finally
        {
            Leave();
            job.Leave();
        }
        job.WakeThread();
    }

    /// <summary>Returns the tag of a message.</summary>
    public int TagOf(MpiKind kind, int from, int to) => (int)kind | (to << KindBits) | (from << (KindBits + _bits));

    /// <summary>Sends a control message to another endpoint.</summary>
    /// <returns>MPI's result.</returns>
    public int Say(MpiWord word, ulong number, int from, MpiPlace to)
    {
        var bytes = (MpiWordBytes*)NativeMemory.Alloc((nuint)sizeof(MpiWordBytes));
        *bytes = new MpiWordBytes { Word = (long)word, Number = number };
        nint request;
        int error = job.Library.Calls.MPI_Isend(bytes, sizeof(MpiWordBytes), job.Library.Byte, to.Rank, TagOf(MpiKind.Word, from, to.Endpoint), job.Communicator, &request);
        if (error != MpiConstants.MPI_SUCCESS)
        {
            NativeMemory.Free(bytes);
            return error;
        }
        _started.Enqueue(new Pending(request, (nint)bytes));
        return error;
    }

    /// <summary>Sends a control message for a closed endpoint.</summary>
    private void SayForClosed(MpiWord word, int from, MpiPlace to)
    {
        int error = Say(word, 0, from, to);
        if (error != MpiConstants.MPI_SUCCESS)
            job.NoteFailure("MPI_Isend", error);
    }

    /// <summary>Takes arrived messages, unless another thread is doing so.</summary>
    /// <returns>True if there were any.</returns>
    public bool Poll()
    {
        if (Interlocked.Exchange(ref _isInside, 1) != 0)
            return false;
        List<MpiLeftover>? ended = null;
        try
        {
            bool happened = Settle(ref ended);
            for (int i = 0; i < MostAtOnce && TryTake(); i++)
                happened = true;
            return happened;
        }
        finally
        {
            Leave();
            // The lock is released first, because the callbacks may close endpoints.
            ended?.ForEach(static l => l.ReportEnd());
        }
    }

    /// <summary>Called at the end of the process: waits until no thread is in a call into MPI, and prevents new calls.</summary>
    /// <returns>False if a call has not returned in time.</returns>
    public bool WaitUntilLeft(TimeSpan limit)
    {
        long start = Stopwatch.GetTimestamp();
        SpinWait spin = default;
        while (job.HasCallers || Volatile.Read(ref _isInside) != 0 || _drivers.Values.Any(static d => d.IsInCall))
        {
            if (Stopwatch.GetElapsedTime(start) >= limit)
                return false;
            spin.SpinOnce();
        }
        return true;
    }

    private void Enter()
    {
        SpinWait spin = default;
        while (Interlocked.Exchange(ref _isInside, 1) != 0)
            spin.SpinOnce();
    }

    private void Leave() => Volatile.Write(ref _isInside, 0);

    private bool TryTake()
    {
        MpiLibrary library = job.Library;
        MpiConstants constants = library.Constants;
        byte* status = stackalloc byte[constants.StatusSize];
        int isThere;
        nint message = 0;
        job.Check(library.Calls.MPI_Improbe(constants.MPI_ANY_SOURCE, MpiConstants.MPI_ANY_TAG, job.Communicator, &isThere, &message, status), "MPI_Improbe");
        if (isThere == 0)
            return false;
        int length;
        job.Check(library.Calls.MPI_Get_count(status, library.Byte, &length), "MPI_Get_count");
        int tag = *(int*)(status + constants.StatusTag);
        var kind = (MpiKind)(tag & KindMask);
        int to = (tag >> KindBits) & HighestNumber;
        MpiArrival arrival = new(kind, new MpiPlace(*(int*)(status + constants.StatusSource), tag >> (KindBits + _bits)), message, length);
        if (kind == MpiKind.Word)
            arrival = Read(arrival);
        if (kind == MpiKind.Word && arrival.Word == MpiWord.GoneSeen)
            Drop(to, arrival.From);
        else if (!_drivers.TryGetValue(to, out MpiDriver? driver) || !driver.TryTake(arrival))
            TakeForClosed(to, arrival);
        return true;
    }

    private MpiArrival Read(in MpiArrival arrival)
    {
        MpiWordBytes bytes;
        nint message = arrival.Message;
        job.Check(job.Library.Calls.MPI_Mrecv(&bytes, sizeof(MpiWordBytes), job.Library.Byte, &message, (void*)job.Library.Constants.MPI_STATUS_IGNORE), "MPI_Mrecv");
        return arrival with { Message = 0, Word = (MpiWord)bytes.Word, Number = bytes.Number };
    }

    /// <summary>Handles a message to a closed endpoint.</summary>
    private void TakeForClosed(int to, in MpiArrival arrival)
    {
        if (arrival.Kind != MpiKind.Word)
        {
            MpiPlace from = arrival.From;
            bool isFirst = !_strays.Exists(s => s.To == to && s.Arrival.From == from);
            _strays.Add((to, arrival));
            CountUnsettled();
            if (isFirst)
                SayForClosed(MpiWord.Gone, to, from);
        }
        else if (arrival.Word == MpiWord.Gone)
        {
            SayForClosed(MpiWord.GoneSeen, to, arrival.From);
        }
    }

    /// <summary>Drops messages to a closed endpoint, after the sender has confirmed that it knows.</summary>
    private void Drop(int to, MpiPlace from)
    {
        for (int i = 0; i < _strays.Count; i++)
        {
            if (_strays[i].To != to || _strays[i].Arrival.From != from)
                continue;
            Drop(_strays[i].Arrival.Message, _strays[i].Arrival.Length);
            _strays.RemoveAt(i--);
        }
        CountUnsettled();
    }

    /// <summary>
    /// Receives a message that has no receive, so that its send completes. The whole message is received, because
    /// truncation is an error for which MPI may end the job.
    /// </summary>
    public void Drop(nint message, int length)
    {
        void* room = NativeMemory.Alloc((nuint)length);
        nint request;
        job.Check(job.Library.Calls.MPI_Imrecv(room, length, job.Library.Byte, &message, &request), "MPI_Imrecv");
        _started.Enqueue(new Pending(request, (nint)room));
    }

    /// <summary>Removes completed sends of control messages, and completed drops.</summary>
    private bool Settle(ref List<MpiLeftover>? ended)
    {
        while (_started.TryDequeue(out Pending? pending))
            _pending.Add(pending);
        if (_pending.Count == 0 && _leftovers.Count == 0)
            return false;
        bool happened = _pending.RemoveAll(IsDone) > 0;
        for (int i = _leftovers.Count - 1; i >= 0; i--)
        {
            if (!_leftovers[i].TryEnd())
                continue;
            (ended ??= []).Add(_leftovers[i]);
            _leftovers.RemoveAt(i);
            happened = true;
        }
        CountUnsettled();
        return happened;
    }

    private bool IsDone(Pending pending)
    {
        int done;
        nint request = pending.Request;
        int error = job.Library.Calls.MPI_Test(&request, &done, (void*)job.Library.Constants.MPI_STATUS_IGNORE);
        pending.Request = request;
        if (error != MpiConstants.MPI_SUCCESS)
        {
            // It is not known what MPI still does with the bytes, so they are not freed.
            job.NoteFailure("MPI_Test", error);
            return true;
        }
        if (done == 0)
            return false;
        NativeMemory.Free((void*)pending.Bytes);
        return true;
    }

    private void CountUnsettled()
    {
        int count = _pending.Count + _strays.Count + _leftovers.Count;
        bool isNew = _unsettled == 0 && count > 0;
        Volatile.Write(ref _unsettled, count);
        // The job's thread may be waiting without a limit, and callers that make progress may not call again.
        if (isNew)
            job.WakeThread();
    }

    private sealed class Pending(nint request, nint bytes)
    {
        public nint Request { get; set; } = request;

        public nint Bytes => bytes;
    }
}
