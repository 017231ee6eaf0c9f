using System.Diagnostics;
using System.Numerics;
using System.Runtime.CompilerServices;

namespace AllocTools.Endpoints.Engine;

/// <summary>What is awaited: an operation, a run of a batch, or the next notification.</summary>
internal interface IAwaited
{
    /// <summary>Its await would not suspend.</summary>
    bool HasEnded(short token);
}

/// <summary>Progress that is made by those who await, before they suspend.</summary>
/// <remarks>
/// An await that finds its operation pending takes progress turns until the operation has ended: then it goes on without a hop to
/// another thread. Where nothing happens for <see cref="SpinTimes"/> times <see cref="RmaEndpointOptions.SpinTime"/> it suspends, and
/// the endpoint's thread goes on. Only the first question for each operation makes progress. An await makes one turn only
/// <list type="bullet">
/// <item>where others queue for this thread of the pool, or half the processors spin already in this process,</item>
/// <item>mostly where the last ones of its kind have spun in vain: one that is long, or waits for what its caller has yet to send,</item>
/// <item>where callers have other work. <see cref="ValueTask.AsTask"/> asks as an await does, and a window of such tasks would become
/// one operation after the other. So one await in <see cref="SampleEach"/> suspends at once: where its thread starts another operation
/// before that one has ended it was no await, and the next ones do not spin either.</item>
/// </list>
/// </remarks>
internal sealed class AwaitHelp
{
    /// <summary>How many kinds there are: those of operations, batches, notifications.</summary>
    public static readonly int Kinds = Enum.GetValues<RmaOperationKind>().Length + 2;

    public static readonly int BatchKind = Kinds - 2;

    public static readonly int NotificationKind = Kinds - 1;

    /// <summary>After that many in vain so many await without spinning to each one that spins.</summary>
    private const int ProbeEach = 32;

    /// <summary>How many awaits there are to one that suspends at once, to see what its thread does next.</summary>
    private const int SampleEach = 256;

    /// <summary>How many samples have to say otherwise, at the most, before awaits spin again.</summary>
    private const int MostOtherWork = 8;

    /// <summary>
    /// How many times <see cref="RmaEndpointOptions.SpinTime"/> an await spins: longer than two wake-ups take, which are what it
    /// saves, and which the peer needs that has suspended as well. Each of two would else be too late for the other, and both would stay slow.
    /// </summary>
    private const int SpinTimes = 10;

    /// <summary>How long it spins at the most where nothing happens, whatever <see cref="RmaEndpointOptions.SpinTime"/> is: the caller's thread has other work.</summary>
    private static readonly TimeSpan LongestSpin = TimeSpan.FromMilliseconds(1);

    /// <summary>How long where something does, such as ends of a batch's operations.</summary>
    private static readonly TimeSpan LongestBusySpin = TimeSpan.FromMilliseconds(2);

    /// <summary>How many awaits of the process spin.</summary>
    private static int s_spinning;

    /// <summary>How many turns there are to one look at the queue of the thread pool.</summary>
    private const int TurnsPerLook = 16;

    private readonly Func<bool> _run;
    private readonly CallGate _gate;
    private readonly TimeSpan _spinTime;
    private readonly int _mostSpinning;
    private readonly int[] _inVain = new int[Kinds];
    private int _spinning;
    private int _suspended;
    private int _count;

    // Guesses: where two threads write them at the same time, one is lost.
    private OperationSlot? _latest;
    private OperationSlot? _sample;
    private long _sampleUse;
    private int _sampleThread;
    private int _untilSample;
    private int _otherWork;

    /// <param name="run">Makes progress, where nobody else does; true when anything happened.</param>
    /// <param name="gate">Keeps the endpoint from being closed meanwhile.</param>
    /// <param name="spinTime">How long an await spins.</param>
    public AwaitHelp(Func<bool> run, CallGate gate, TimeSpan spinTime)
    {
        _run = run;
        _gate = gate;
        // With one processor, spinning keeps the peer or the kernel from running.
        _spinTime = Environment.ProcessorCount == 1 ? TimeSpan.Zero : SpinTimes * spinTime < LongestSpin ? SpinTimes * spinTime : LongestSpin;
        // Two threads of a process that spin on two processors leave none to the peer.
        _mostSpinning = Math.Max(1, Environment.ProcessorCount / 2);
    }

    /// <summary>Some await makes progress, so that the endpoint's thread need not.</summary>
    public bool IsRunning => Volatile.Read(ref _spinning) > 0;

    /// <summary>How often an await has made progress. Some may be missing where two count at the same time.</summary>
    public int Count => Volatile.Read(ref _count);

    /// <summary>Some await has suspended.</summary>
    public bool HasSuspended => Volatile.Read(ref _suspended) > 0;

    /// <summary>An operation with a task is about to start.</summary>
    public void NoteStart(OperationSlot slot)
    {
        _latest = slot;
        if (_sample is not { } sample)
            return;
        _sample = null;
        if (sample.Use != _sampleUse || sample.State is OperationState.Free or OperationState.Ended)
            _otherWork = Math.Max(_otherWork - 1, 0);
        else if (_sampleThread == Environment.CurrentManagedThreadId)
            _otherWork = Math.Min(_otherWork + 2, MostOtherWork);
    }

    /// <summary>Makes progress for an operation that is about to be awaited.</summary>
    /// <returns>True where it has ended.</returns>
    public bool TryEnd(OperationSlot slot, short token)
    {
        // What was started before others, and is awaited after them, has a caller who has nothing else to do.
        bool samples = _latest == slot && (_otherWork > 0 || --_untilSample <= 0);
        if (TryEnd(slot, token, (int)slot.Kind, maySpin: !samples))
            return true;
        if (samples)
        {
            _untilSample = SampleEach;
            _sampleUse = slot.Use;
            _sampleThread = Environment.CurrentManagedThreadId;
            _sample = slot;
        }
        return false;
    }

    /// <summary>Makes progress for what is about to be awaited.</summary>
    /// <param name="awaited">What.</param>
    /// <param name="token">The version of its task.</param>
    /// <param name="kind">Awaits of one kind take about as long.</param>
    /// <param name="maySpin">It is worth more than one turn.</param>
    /// <returns>True where it has ended.</returns>
    public bool TryEnd(IAwaited awaited, short token, int kind, bool maySpin = true)
    {
        if (!_gate.TryEnter())
            return false;
        try
        {
            _count++;
            _run();
            if (awaited.HasEnded(token))
                return true;
            ref int inVain = ref _inVain[kind];
            if (!maySpin)
                return false;
            bool ended = _spinTime > TimeSpan.Zero && IsWorthIt(inVain) && !OthersQueue() && TrySpin(awaited, token);
            inVain = ended ? 0 : inVain == 2 * ProbeEach - 1 ? ProbeEach : inVain + 1;
            return ended;
        }
        finally
        {
            _gate.Exit();
        }
    }

    /// <summary>An await suspends. Said before the endpoint's thread is woken, with a fence between.</summary>
    public void Suspend() => Interlocked.Increment(ref _suspended);

    /// <summary>The result of one that had suspended was taken.</summary>
    public void Resume() => Interlocked.Decrement(ref _suspended);

    private static bool IsWorthIt(int inVain) => inVain == 0 || (inVain < ProbeEach ? BitOperations.IsPow2(inVain) : inVain % ProbeEach == 0);

    private bool TrySpin(IAwaited awaited, short token)
    {
        try
        {
            Interlocked.Increment(ref _spinning);
            return Interlocked.Increment(ref s_spinning) <= _mostSpinning && Spin(awaited, token);
        }
        finally
        {
            Interlocked.Decrement(ref s_spinning);
            Interlocked.Decrement(ref _spinning);
        }
    }

    private bool Spin(IAwaited awaited, short token)
    {
        // Real time: who would move another clock on may be this very thread.
        long start = Stopwatch.GetTimestamp();
        long last = start;
        for (int turns = 1; !_gate.IsClosed; turns++)
        {
            bool happened = _run();
            if (awaited.HasEnded(token))
                return true;
            long now = Stopwatch.GetTimestamp();
            if (happened)
                last = now;
            if (Stopwatch.GetElapsedTime(last, now) >= _spinTime || Stopwatch.GetElapsedTime(start, now) >= LongestBusySpin || (turns % TurnsPerLook == 0 && OthersQueue()))
                return false;
        }
        return false;
    }

    /// <summary>This thread is the pool's, and there is other work for it.</summary>
    [MethodImpl(MethodImplOptions.NoInlining)]
    private static bool OthersQueue() => Thread.CurrentThread.IsThreadPoolThread && ThreadPool.PendingWorkItemCount > 0;
}
