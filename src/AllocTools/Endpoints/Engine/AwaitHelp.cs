using System.Diagnostics;
using System.Numerics;
using System.Runtime.CompilerServices;

namespace AllocTools.Endpoints.Engine;

/// <summary>An awaitable of the endpoint: an operation, a run of a batch, or the next notification.</summary>
internal interface IAwaited
{
    /// <summary>Whether an await of it would not suspend.</summary>
    bool HasEnded(short token);
}

/// <summary>Lets awaiting threads make progress before they suspend.</summary>
/// <remarks>
/// An await that finds its operation pending makes progress turns until the operation has ended. Then it continues
/// without a switch to another thread. If nothing happens for <see cref="SpinTimes"/> times
/// <see cref="RmaEndpointOptions.SpinTime"/>, it suspends, and the endpoint's thread continues. Only the first status
/// query for each operation makes progress. An await makes only one turn
/// <list type="bullet">
/// <item>if other work is queued for this thread of the pool, or half of the processors already spin in this process,</item>
/// <item>usually if the last awaits of its kind have spun in vain, because they are long, or depend on data that the
/// caller has yet to send,</item>
/// <item>if callers have other work. <see cref="ValueTask.AsTask"/> looks like an await, and a window of such tasks
/// would be reduced to one operation after the other. Therefore one await in <see cref="SampleEach"/> suspends
/// immediately: if its thread starts another operation before that one has ended, it was not an await, and the next
/// ones do not spin either.</item>
/// </list>
/// </remarks>
internal sealed class AwaitHelp
{
    /// <summary>The number of kinds: those of operations, batches and notifications.</summary>
    public static readonly int Kinds = Enum.GetValues<RmaOperationKind>().Length + 2;

    public static readonly int BatchKind = Kinds - 2;

    public static readonly int NotificationKind = Kinds - 1;

    /// <summary>After this many awaits have spun in vain, this many awaits don't spin for each one that does.</summary>
    private const int ProbeEach = 32;

    /// <summary>One in this many awaits suspends immediately, to observe what its thread does next.</summary>
    private const int SampleEach = 256;

    /// <summary>The maximum number of samples with the opposite result before awaits spin again.</summary>
    private const int MostOtherWork = 8;

    /// <summary>
    /// How many times <see cref="RmaEndpointOptions.SpinTime"/> an await spins. That is longer than two wake-ups take: the
    /// one that spinning saves, and the one that a suspended peer needs. Otherwise each side would be too late for the
    /// other, and both would stay slow.
    /// </summary>
    private const int SpinTimes = 10;

    /// <summary>The longest spinning without any event, whatever <see cref="RmaEndpointOptions.SpinTime"/> is, because the caller's thread has other work.</summary>
    private static readonly TimeSpan LongestSpin = TimeSpan.FromMilliseconds(1);

    /// <summary>The longest spinning with events, such as ends of a batch's operations.</summary>
    private static readonly TimeSpan LongestBusySpin = TimeSpan.FromMilliseconds(2);

    /// <summary>The number of awaits in this process that spin.</summary>
    private static int s_spinning;

    /// <summary>The queue of the thread pool is checked once in this many turns.</summary>
    private const int TurnsPerLook = 16;

    private readonly Func<bool> _run;
    private readonly CallGate _gate;
    private readonly TimeSpan _spinTime;
    private readonly int _mostSpinning;
    private readonly int[] _inVain = new int[Kinds];
    private int _spinning;
    private int _suspended;
    private int _count;

    // These are estimates: if two threads write them at the same time, one value is lost.
    private OperationSlot? _latest;
    private OperationSlot? _sample;
    private long _sampleUse;
    private int _sampleThread;
    private int _untilSample;
    private int _otherWork;

    /// <param name="run">Makes progress, unless another thread does; returns true if anything happened.</param>
    /// <param name="gate">Prevents the endpoint from being closed meanwhile.</param>
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

    /// <summary>Whether an await is making progress, so that the endpoint's thread need not.</summary>
    public bool IsRunning => Volatile.Read(ref _spinning) > 0;

    /// <summary>How often an await has made progress. The count may be too low if two threads count at the same time.</summary>
    public int Count => Volatile.Read(ref _count);

    /// <summary>Whether any await is suspended.</summary>
    public bool HasSuspended => Volatile.Read(ref _suspended) > 0;

    /// <summary>Called when an operation with a task is about to start.</summary>
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
    /// <returns>True if the operation has ended.</returns>
    public bool TryEnd(OperationSlot slot, short token)
    {
        // If an operation was started before others but is awaited after them, its caller has nothing else to do.
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

    /// <summary>Makes progress for an awaitable that is about to be awaited.</summary>
    /// <param name="awaited">The awaitable.</param>
    /// <param name="token">The version of its task.</param>
    /// <param name="kind">The kind; awaits of one kind take about equally long.</param>
    /// <param name="maySpin">Whether it may make more than one turn.</param>
    /// <returns>True if the awaitable has ended.</returns>
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

    /// <summary>Notes that an await suspends. Called before the endpoint's thread is woken, with a fence in between.</summary>
    public void Suspend() => Interlocked.Increment(ref _suspended);

    /// <summary>Notes that the result of an await that had suspended was taken.</summary>
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
        // Real time is used, because this thread may be the one that would advance another clock.
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

    /// <summary>Whether this is a pool thread with other work queued for it.</summary>
    [MethodImpl(MethodImplOptions.NoInlining)]
    private static bool OthersQueue() => Thread.CurrentThread.IsThreadPoolThread && ThreadPool.PendingWorkItemCount > 0;
}
