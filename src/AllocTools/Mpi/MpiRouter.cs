using System.Collections.Concurrent;
using System.Diagnostics;
using System.Numerics;
using System.Runtime.InteropServices;
using AllocTools.Mpi.Interop;

namespace AllocTools.Mpi;

/// <summary>Distributes what arrives at the process to its endpoints. Whichever endpoint makes a turn does it for all.</summary>
/// <remarks>
/// A process is one rank, and has many endpoints; so a tag has the numbers of both endpoints beside the kind of the message, and messages are
/// taken by MPI_Improbe, whatever their tag is, in the order in which they were sent. Numbers are given in turn, so that one
/// comes again only after all others.
/// A message to an endpoint that is closed is kept: its sender hears of that, and only once the sender has answered it is dropped, for
/// MPI then tells the sender that it was received.
/// </remarks>
internal sealed unsafe class MpiRouter(MpiJob job)
{
    private const int KindBits = 2;
    private const int KindMask = (1 << KindBits) - 1;
    private const int MostBits = 14;

    /// <summary>How many messages a turn takes at the most.</summary>
    private const int MostAtOnce = 64;

    private readonly ConcurrentDictionary<int, MpiDriver> _drivers = new();
    private readonly Lock _numbers = new();
    private readonly ConcurrentQueue<Pending> _started = new();

    // Used by the thread that is inside.
    private readonly List<Pending> _pending = [];
    private readonly List<(int To, MpiArrival Arrival)> _strays = [];
    private readonly List<MpiLeftover> _leftovers = [];
    private int _isInside;
    private int _unsettled;
    private int _bits;
    private int _last;

    /// <summary>The highest number of an endpoint.</summary>
    public int HighestNumber => (1 << _bits) - 1;

    /// <param name="largestTag">MPI_TAG_UB.</param>
    public void Configure(int largestTag) => _bits = Math.Min((BitOperations.Log2((uint)largestTag + 1) - KindBits) / 2, MostBits);

    /// <summary>Something is left of closed endpoints, which open ones may not look after, where callers make progress; or there are none, and messages may arrive.</summary>
    public bool NeedsThread(int contexts) => Volatile.Read(ref _unsettled) > 0 || (_drivers.IsEmpty && (contexts > 0 || !_started.IsEmpty));

    /// <summary>Gives an endpoint its number.</summary>
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

    /// <summary>An endpoint is closed: what has arrived for it is as what comes later.</summary>
    /// <param name="number">Its number.</param>
    /// <param name="left">What it has not received.</param>
    /// <param name="leftover">What MPI still has of it; null for nothing. At the end of the process nothing looks after it any more.</param>
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

    /// <summary>The tag of a message.</summary>
    public int TagOf(MpiKind kind, int from, int to) => (int)kind | (to << KindBits) | (from << (KindBits + _bits));

    /// <summary>Says something to another endpoint.</summary>
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

    /// <summary>Says something for an endpoint that is closed.</summary>
    private void SayForClosed(MpiWord word, int from, MpiPlace to)
    {
        int error = Say(word, 0, from, to);
        if (error != MpiConstants.MPI_SUCCESS)
            job.NoteFailure("MPI_Isend", error);
    }

    /// <summary>Takes what has arrived, unless another thread is just doing so.</summary>
    /// <returns>True where something had.</returns>
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
            // The lock is given back before, since what they call may close endpoints.
            ended?.ForEach(static l => l.ReportEnd());
        }
    }

    /// <summary>At the end of the process: waits until no thread is in a call into MPI, and none begins one.</summary>
    /// <returns>False where one has not come back in time.</returns>
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

    /// <summary>Its endpoint is closed.</summary>
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

    /// <summary>Drops what a sender knows to have gone to a closed endpoint.</summary>
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

    /// <summary>Receives a message that no receive takes, so that its sender is done with it. All of it: to cut it off is an error, which MPI may end the job for.</summary>
    public void Drop(nint message, int length)
    {
        void* room = NativeMemory.Alloc((nuint)length);
        nint request;
        job.Check(job.Library.Calls.MPI_Imrecv(room, length, job.Library.Byte, &message, &request), "MPI_Imrecv");
        _started.Enqueue(new Pending(request, (nint)room));
    }

    /// <summary>Forgets what is done of what was sent and dropped.</summary>
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
            // What MPI still does with the bytes is not known: they are not freed.
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
        // The job's thread may wait without a limit, and callers that make progress may not come again.
        if (isNew)
            job.WakeThread();
    }

    private sealed class Pending(nint request, nint bytes)
    {
        public nint Request { get; set; } = request;

        public nint Bytes => bytes;
    }
}
