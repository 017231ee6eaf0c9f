using System.Diagnostics;
using System.Security.Cryptography;
using AllocTools.Diagnostics;
using AllocTools.Interop;
using AllocTools.Mpi.Interop;
using Microsoft.Extensions.Logging;

namespace AllocTools.Mpi;

/// <summary>The process as a rank of a job: MPI, initialized once, with one communicator and one dynamic window for all contexts.</summary>
/// <remarks>
/// <para>
/// Static because MPI is: it is initialized once a process, can't be started again after MPI_Finalize, and a process is one rank
/// however many pools it has. What is collective, which means that every rank must call it, and in the same order, is called
/// when the first context of a process is opened, and at the end of the process: a communicator of this library's own, and the window, to which
/// contexts attach their memory. All ranks of the job must open a context then; until the last one has, the others wait, for
/// <see cref="MpiOptions.StartTimeout"/> at the most. Contexts that are opened later call nothing that is collective, so their order is each rank's own.
/// </para>
/// <para>
/// Where the application has initialized MPI itself it finalizes it, too. Else MPI is finalized when the process ends, by the
/// thread that has initialized it. MPI waits there until all ranks end.
/// </para>
/// </remarks>
internal sealed unsafe class MpiJob
{
    private const int FewestRanksOfOpenMpi = 2;

    private static readonly Lock Gate = new();
    private static readonly TimeSpan LeaveTime = TimeSpan.FromSeconds(5);
    private static readonly TimeSpan Pause = TimeSpan.FromMilliseconds(1);
    private static MpiJob? s_current;

    private readonly ILogger _logger;
    private readonly MpiThread _thread;
    private readonly Task _started;
    private readonly TimeSpan _endTimeout;
    private nint _duplicate;
    private nint _exchange;
    private nint _window;
    private bool _ownsMpi;
    private bool _isOfApplication;
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

    /// <summary>MPI. Set once the job is started.</summary>
    public MpiLibrary Library { get; private set; } = null!;

    /// <summary>The communicator of this library, with all ranks.</summary>
    public nint Communicator => _duplicate;

    /// <summary>Another one with all ranks, for <see cref="MpiExchange"/>: collective calls on one communicator must come in the same order in all ranks.</summary>
    public nint ExchangeCommunicator => _exchange;

    public nint Window => _window;

    public int Rank { get; private set; }

    /// <summary>How many ranks the job has.</summary>
    public int Size { get; private set; }

    /// <summary>A random number that all ranks of the job have, and none of another job.</summary>
    public ulong Number { get; private set; }

    /// <summary>Distributes what arrives.</summary>
    public MpiRouter Router { get; }

    public AttachedMemory Memory { get; }

    /// <summary>The process ends, or the application has finalized MPI: no call into MPI may begin any more.</summary>
    public bool IsEnding => _isEnding || (_isOfApplication && IsFinalized());

    /// <summary>Threads that are in MPI, and in no endpoint's turn.</summary>
    public bool HasCallers => Volatile.Read(ref _callers) > 0;

    /// <summary>The job of this process; starts it where that has not been done.</summary>
    /// <exception cref="RmaProviderException">MPI is missing, or the process is no rank that can work; the message says what to do.</exception>
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
        Interlocked.Increment(ref job._contexts);
        job.WakeThread();
        return job;
    }

    /// <summary>A context is closed.</summary>
    public void Close()
    {
        Interlocked.Decrement(ref _contexts);
        InheritanceGuard.End();
    }

    /// <summary>A thread is about to call MPI that is in no endpoint's turn. <see cref="Leave"/> follows.</summary>
    /// <returns>False: no call may begin any more, and nothing follows.</returns>
    public bool TryEnter()
    {
        Interlocked.Increment(ref _callers);
        Fence.AfterInterlocked();
        if (!IsEnding)
            return true;
        Leave();
        return false;
    }

    /// <summary><see cref="TryEnter"/>, where there is no way on without MPI.</summary>
    /// <exception cref="RmaProviderException">No call may begin any more.</exception>
    public void Enter()
    {
        if (!TryEnter())
            throw new RmaProviderException("MPI can't be used: it is finalized, or about to be.");
    }

    /// <summary>The thread is out of MPI.</summary>
    public void Leave() => Interlocked.Decrement(ref _callers);

    /// <summary>An exchange with all ranks is under way; until <see cref="EndExchange"/> the job can't end in order.</summary>
    public void BeginExchange() => Interlocked.Increment(ref _exchanges);

    public void EndExchange() => Interlocked.Decrement(ref _exchanges);

    /// <summary>What belongs to no open endpoint has failed.</summary>
    public void NoteFailure(string operation, int error) => Log.MpiFailedAside(_logger, MpiErrors.Provider(Library, operation, error).Message);

    /// <summary>There may be work for the job's thread.</summary>
    public void WakeThread() => _thread.Wake();

    /// <summary>Throws where a call has failed.</summary>
    public void Check(int error, string operation, string advice = "")
    {
        if (error != MpiConstants.MPI_SUCCESS)
            throw MpiErrors.Provider(Library, operation, error, advice);
    }

    private void Load(MpiOptions options)
    {
        MpiEnvironment.ApplyDefaults();
        MpiLibrary? library = MpiResolver.TryLoad(options.Implementation, options.LibraryPath, NativeEnvironment.Get, MpiLibrary.TryLoad, out string reason);
        if (library is null)
        {
            // Other options may find it.
            lock (Gate)
                s_current = null;
            _thread.End();
            throw new RmaProviderException(reason);
        }
        Library = library;
        if (MpiResolver.FindStarter(NativeEnvironment.Get) is { } starter && starter.Implementation != library.Implementation)
            Log.MpiStarterDiffers(_logger, MpiResolver.NameOf(library.Implementation), starter.Mark, MpiResolver.NameOf(starter.Implementation));
    }

    private void ThrowIfUnfit(MpiOptions options)
    {
        if (options.Implementation != MpiImplementation.Any && options.Implementation != Library.Implementation)
            throw new RmaProviderException($"Implementation is {options.Implementation}, but this process uses {MpiResolver.NameOf(Library.Implementation)} already, and a process uses one MPI. Set the same for all its pools.");
        if (!string.IsNullOrEmpty(options.LibraryPath) && !Library.IsNamed(options.LibraryPath))
            throw new RmaProviderException($"LibraryPath is '{options.LibraryPath}', but this process uses {Library} already, and a process uses one MPI. Set the same for all its pools.");
    }

    private void WaitUntilStarted(TimeSpan limit)
    {
        if (_isEnding)
            throw new RmaProviderException("MPI can't be used: the process is about to end.");
        try
        {
            _started.WaitAsync(limit).GetAwaiter().GetResult();
        }
        catch (TimeoutException)
        {
            throw new RmaProviderException(
                $"Not all ranks of the MPI job have opened the provider within {limit.TotalSeconds:0.###} s: every one must, for the window that memory is attached to is made by all ranks together. "
                + "See that each rank opens a pool or a context on MpiProvider, or raise Provider:StartTimeout.");
        }
    }

    private void Start()
    {
        Initialize();
        Duplicate(ref _duplicate);
        Duplicate(ref _exchange);
        int rank, size;
        Check(Library.Calls.MPI_Comm_rank(_duplicate, &rank), "MPI_Comm_rank");
        Check(Library.Calls.MPI_Comm_size(_duplicate, &size), "MPI_Comm_size");
        (Rank, Size) = (rank, size);
        if (Library.Implementation == MpiImplementation.OpenMpi && size < FewestRanksOfOpenMpi)
        {
            throw new RmaProviderException(
                "Open MPI has no dynamic windows in a job of one rank: start the process with mpirun, with two ranks at least (mpirun -n 2), or use MPICH.");
        }
        ulong number = BitConverter.ToUInt64(RandomNumberGenerator.GetBytes(sizeof(ulong)));
        Check(Library.Calls.MPI_Bcast(&number, sizeof(ulong), Library.Byte, 0, _duplicate), "MPI_Bcast");
        Number = number;
        Router.Configure(LargestTag());
        CreateWindow();
    }

    private void Initialize()
    {
        if (IsFinalized())
            throw new RmaProviderException("MPI can't be used: it was finalized in this process, and can't be started again. Open the pool before MPI_Finalize.");
        int isInitialized;
        Check(Library.Calls.MPI_Initialized(&isInitialized), "MPI_Initialized");
        int level = 0;
        using SignalHandlers.Scope handlers = SignalHandlers.Keep();
        if (isInitialized != 0)
        {
            _isOfApplication = true;
            Check(Library.Calls.MPI_Query_thread(&level), "MPI_Query_thread");
        }
        else
        {
            ThrowIfAlone();
            Check(Library.Calls.MPI_Init_thread(null, null, MpiConstants.MPI_THREAD_MULTIPLE, &level), "MPI_Init_thread");
            _ownsMpi = true;
            // A child would keep the connection to the process manager, which MPICH's mpirun has given this process, open after its end.
            if (Library.Implementation == MpiImplementation.Mpich && int.TryParse(NativeEnvironment.Get("PMI_FD"), out int descriptor))
                InheritableDescriptors.Close(descriptor);
            // Errors that belong to no communicator go to one of these.
            Check(Library.Calls.MPI_Comm_set_errhandler(Library.World, Library.ErrorsReturn), "MPI_Comm_set_errhandler");
            Check(Library.Calls.MPI_Comm_set_errhandler(Library.Self, Library.ErrorsReturn), "MPI_Comm_set_errhandler");
            AppDomain.CurrentDomain.ProcessExit += (_, _) => End();
        }
        MpiEnvironment.NoteRead();
        if (level < MpiConstants.MPI_THREAD_MULTIPLE)
        {
            throw new RmaProviderException(
                $"MPI can't be used: it runs at thread level {level} in this process, and MPI_THREAD_MULTIPLE ({MpiConstants.MPI_THREAD_MULTIPLE}) is needed. "
                + (_ownsMpi ? "Use a library that was built with it." : "Have the application ask MPI_Init_thread for it."));
        }
    }

    /// <summary>MPI_Init_thread of Open MPI would start a daemon of its own for the process, and end in a job of one rank.</summary>
    private void ThrowIfAlone()
    {
        if (Library.Implementation == MpiImplementation.OpenMpi && MpiResolver.FindStarter(NativeEnvironment.Get) is null)
        {
            throw new RmaProviderException(
                "The process was not started by mpirun, and Open MPI has no dynamic windows then. Start it with mpirun, with two ranks at least, such as 'mpirun -n 2 dotnet App.dll'; or use MPICH, which also works alone (apt-get install mpich).");
        }
    }

    /// <summary>Waits until each rank has come so far; in pauses, while MPI_Comm_dup would spin.</summary>
    private void Duplicate(ref nint communicator)
    {
        nint request;
        fixed (nint* duplicate = &communicator)
            Check(Library.Calls.MPI_Comm_idup(Library.World, duplicate, &request), "MPI_Comm_idup");
        WaitFor(request, "MPI_Comm_idup");
        Check(Library.Calls.MPI_Comm_set_errhandler(communicator, Library.ErrorsReturn), "MPI_Comm_set_errhandler");
    }

    private void WaitFor(nint request, string operation)
    {
        while (!IsDone(ref request, operation))
            Thread.Sleep(Pause);
    }

    /// <summary>A request is done. MPI_Test.</summary>
    public bool IsDone(ref nint request, string operation)
    {
        int done;
        fixed (nint* at = &request)
            Check(Library.Calls.MPI_Test(at, &done, (void*)Library.Constants.MPI_STATUS_IGNORE), operation);
        return done != 0;
    }

    private bool IsFinalized()
    {
        int isFinalized;
        return Library.Calls.MPI_Finalized(&isFinalized) == MpiConstants.MPI_SUCCESS && isFinalized != 0;
    }

    private int LargestTag()
    {
        int* value = null;
        int found;
        Check(Library.Calls.MPI_Comm_get_attr(Library.World, Library.Constants.MPI_TAG_UB, &value, &found), "MPI_Comm_get_attr");
        return found != 0 && value != null ? *value : short.MaxValue;
    }

    private void CreateWindow()
    {
        const string Advice = "Open MPI 4 has dynamic windows where the ranks share a machine, or an RDMA network such as InfiniBand joins them, and none over TCP; MPICH has them everywhere.";
        nint window;
        Check(
            Library.Calls.MPI_Win_create_dynamic(Library.NoInfo, _duplicate, &window),
            "MPI_Win_create_dynamic",
            Library.Implementation == MpiImplementation.OpenMpi ? Advice : "");
        Check(Library.Calls.MPI_Win_set_errhandler(window, Library.ErrorsReturn), "MPI_Win_set_errhandler");
        Check(Library.Calls.MPI_Win_lock_all(0, window), "MPI_Win_lock_all");
        _window = window;
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

    /// <summary>At the end of the process: lets the calls that run come back, and finalizes MPI, where the application does not.</summary>
    private void End()
    {
        _isEnding = true;
        Fence.Full();
        if (!_started.IsCompletedSuccessfully)
        {
            Log.MpiNotFinalized(_logger, "it could not be started with all ranks");
            return;
        }
        if (!Router.WaitUntilLeft(LeaveTime))
        {
            Log.MpiNotFinalized(_logger, "a call into MPI has not come back");
            return;
        }
        if (Volatile.Read(ref _exchanges) > 0)
        {
            Log.MpiNotFinalized(_logger, "not all ranks have come to an exchange");
            return;
        }
        Task ended = _thread.RunAsync(EndMpi);
        if (Task.WaitAny([ended], _endTimeout) < 0)
        {
            _hasGivenUp = true;
            Log.MpiNotFinalized(_logger, $"not all ranks have come to their end within {_endTimeout.TotalSeconds:0.###} s (EndTimeout)");
        }
        else if (ended.Exception is { } failure)
        {
            Log.MpiNotFinalized(_logger, failure.InnerException!.Message);
        }
    }

    private void EndMpi()
    {
        // Others may go on for long: looked at in pauses, while MPI itself would spin.
        nint barrier;
        Check(Library.Calls.MPI_Ibarrier(_duplicate, &barrier), "MPI_Ibarrier");
        WaitFor(barrier, "MPI_Ibarrier");
        if (_hasGivenUp)
            return;
        Check(Library.Calls.MPI_Win_unlock_all(_window), "MPI_Win_unlock_all");
        fixed (nint* window = &_window)
            Check(Library.Calls.MPI_Win_free(window), "MPI_Win_free");
        Free(ref _exchange);
        Free(ref _duplicate);
        Check(Library.Calls.MPI_Finalize(), "MPI_Finalize");
    }

    private void Free(ref nint communicator)
    {
        fixed (nint* at = &communicator)
            Check(Library.Calls.MPI_Comm_free(at), "MPI_Comm_free");
    }
}
