using AllocTools.Diagnostics;
using AllocTools.Interop;
using AllocTools.Mpi.Interop;
using Microsoft.Extensions.Logging;

namespace AllocTools.Mpi;

/// <summary>The process as a rank of a job: MPI, initialized once, with one communicator and one dynamic window for all contexts.</summary>
/// <remarks>
/// <para>
/// It is static because MPI is: it is initialized once per process, can't be started again after MPI_Finalize, and a
/// process is one rank however many pools it has. The job has a communicator of this library's own, and the window, to
/// which contexts attach their memory. Collective calls, which every rank must make in the same order, are made when
/// the first context of a process is opened, and at the end of the process. All ranks of the job must open a context
/// then; until the last one has, the others wait, for at most <see cref="MpiOptions.StartTimeout"/>. Contexts that are
/// opened later make no collective calls, so each rank may open them in any order.
/// </para>
/// <para>
/// If the application has initialized MPI itself, it also finalizes it, and this library frees its objects within that
/// call. Otherwise MPI is finalized when the process ends, by the thread that has initialized it. MPI waits there until
/// all ranks end.
/// </para>
/// </remarks>
internal sealed unsafe partial class MpiJob
{
    private const int FewestRanksOfOpenMpi = 2;

    private static readonly Lock Gate = new();
    private static readonly TimeSpan LeaveTime = TimeSpan.FromSeconds(5);
    private static readonly TimeSpan Pause = TimeSpan.FromMilliseconds(1);
    private static MpiJob? s_current;

    private readonly ILogger _logger;
    private readonly MpiThread _thread;
    private readonly Task _started;
    private (MpiImplementation Implementation, string Mark)? _starter;
    private int _isGuarded;
    private readonly TimeSpan _endTimeout;
    private nint _duplicate;
    private nint _exchange;
    private nint _window;
    private bool _ownsMpi;
    private int _contexts;
    private int _callers;
    private int _exchanges;
    private volatile bool _isEnding;
    private volatile bool _hasGivenUp;

    private MpiJob(MpiOptions options, ILogger logger)
    {
        _endTimeout = options.EndTimeout;
        _logger = logger;
        Router = new MpiRouter(this);
        Memory = new AttachedMemory(this);
        _thread = new MpiThread(() => Router.NeedsThread(Volatile.Read(ref _contexts)), Look, e => Log.MpiFailedAside(_logger, e.Message));
        _started = _thread.RunAsync(() =>
        {
            Load(options);
            Start();
        });
    }

    /// <summary>MPI. It is set once the job is started.</summary>
    public MpiLibrary Library { get; private set; } = null!;

    /// <summary>The communicator of this library, with all ranks.</summary>
    public nint Communicator => _duplicate;

    /// <summary>
    /// Another communicator with all ranks, for <see cref="MpiExchange"/>: all ranks must make the collective calls on
    /// one communicator in the same order.
    /// </summary>
    public nint ExchangeCommunicator => _exchange;

    public nint Window => _window;

    public int Rank { get; private set; }

    /// <summary>The number of ranks in the job.</summary>
    public int Size { get; private set; }

    /// <summary>A random number that identifies the job.</summary>
    public ulong Number { get; private set; }

    /// <summary>Distributes arriving messages.</summary>
    public MpiRouter Router { get; }

    public AttachedMemory Memory { get; }

    /// <summary>Whether the process ends or the application finalizes MPI, so that no more calls into MPI may begin.</summary>
    public bool IsEnding => _isEnding;

    /// <summary>Whether any threads are in MPI outside the progress turns of endpoints.</summary>
    public bool HasCallers => Volatile.Read(ref _callers) > 0;

    /// <summary>Returns the job of this process, which is started if necessary.</summary>
    /// <exception cref="RmaProviderException">MPI is missing, or the process is not a working rank; the message
    /// explains what to do.</exception>
    public static MpiJob Open(MpiOptions options, ILogger logger)
    {
        MpiJob job;
        InheritanceGuard.Begin();
        try
        {
            lock (Gate)
            {
                job = s_current ??= new MpiJob(options, logger);
            }
            job.WaitUntilStarted(options.StartTimeout);
            job.ThrowIfUnfit(options);
            InheritanceGuard.Look();
        }
        catch
        {
            InheritanceGuard.End();
            throw;
        }
        // MPI opens sockets even after the last context is closed, until the process ends, so one guard stays.
        if (Interlocked.Exchange(ref job._isGuarded, 1) != 0)
            InheritanceGuard.End();
        Interlocked.Increment(ref job._contexts);
        job.WakeThread();
        return job;
    }

    /// <summary>Called when a context is closed.</summary>
    public void Close()
    {
        Interlocked.Decrement(ref _contexts);
    }

    /// <summary>
    /// Called when a thread is about to call MPI outside the progress turn of an endpoint. <see cref="Leave"/> must
    /// follow.
    /// </summary>
    /// <returns>False if no call may begin any more, and nothing must follow.</returns>
    public bool TryEnter()
    {
        Interlocked.Increment(ref _callers);
        Fence.AfterInterlocked();
        if (!IsEnding)
            return true;
        Leave();
        return false;
    }

    /// <summary>Like <see cref="TryEnter"/>, but for a caller that can't continue without MPI.</summary>
    /// <exception cref="RmaProviderException">No call may begin any more.</exception>
    public void Enter()
    {
        if (!TryEnter())
            throw new RmaProviderException("MPI can't be used: it is finalized, or about to be.");
    }

    /// <summary>Called when the thread has left MPI.</summary>
    public void Leave() => Interlocked.Decrement(ref _callers);

    /// <summary>Called when an exchange with all ranks begins. Until <see cref="EndExchange"/> the job can't end cleanly.</summary>
    public void BeginExchange() => Interlocked.Increment(ref _exchanges);

    public void EndExchange() => Interlocked.Decrement(ref _exchanges);

    /// <summary>Reports a failure that does not belong to an open endpoint.</summary>
    public void NoteFailure(string operation, int error) => Log.MpiFailedAside(_logger, MpiErrors.Provider(Library, operation, error).Message);

    /// <summary>Called when there may be work for the job's thread.</summary>
    public void WakeThread() => _thread.Wake();

    /// <summary>Throws if a call has failed.</summary>
    public void Check(int error, string operation, string advice = "")
    {
        if (error != MpiConstants.MPI_SUCCESS)
            throw MpiErrors.Provider(Library, operation, error, advice);
    }

    /// <summary>
    /// Waits for a collective operation, which may take long. It is polled with pauses, because MPI itself would spin.
    /// </summary>
    /// <returns>False if the wait was abandoned.</returns>
    private bool TryWaitFor(nint request, string operation, Func<bool> mustGiveUp)
    {
        while (!IsDone(ref request, operation))
        {
            if (mustGiveUp())
                return false;
            Thread.Sleep(Pause);
        }
        return true;
    }

    /// <summary>Whether a request has completed (MPI_Test).</summary>
    public bool IsDone(ref nint request, string operation)
    {
        int done;
        fixed (nint* at = &request)
            Check(Library.Calls.MPI_Test(at, &done, (void*)Library.Constants.MPI_STATUS_IGNORE), operation);
        return done != 0;
    }

    private bool Look()
    {
        if (!TryEnter())
            return false;
        try
        {
            return Router.Poll();
        }
        finally
        {
            Leave();
        }
    }
}
