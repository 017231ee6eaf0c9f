using System.Runtime.InteropServices;
using System.Security.Cryptography;
using AllocTools.Diagnostics;
using AllocTools.Interop;
using AllocTools.Mpi.Interop;

namespace AllocTools.Mpi;

/// <content>Starting MPI, from loading the library to creating the window.</content>
internal sealed unsafe partial class MpiJob
{
    private void Load(MpiOptions options)
    {
        MpiEnvironment.ApplyDefaults();
        MpiLibrary? library = MpiResolver.TryLoad(options.Implementation, options.LibraryPath, NativeEnvironment.Get, MpiLibrary.TryLoad, out string reason);
        if (library is null)
        {
            // A later attempt with other options may find it.
            lock (Gate)
                s_current = null;
            _thread.End();
            throw new RmaProviderException(reason);
        }
        Library = library;
        // Open MPI sets variables of its own when it is initialized.
        _starter = MpiResolver.FindStarter(NativeEnvironment.Get);
        if (_starter is { } starter && starter.Implementation != library.Implementation)
            Log.MpiStarterDiffers(_logger, MpiResolver.NameOf(library.Implementation), starter.Mark, MpiResolver.NameOf(starter.Implementation));
    }

    private void ThrowIfUnfit(MpiOptions options)
    {
        if (options.Implementation != MpiImplementation.Any && options.Implementation != Library.Implementation)
            throw new RmaProviderException($"Implementation is {options.Implementation}, but this process uses {MpiResolver.NameOf(Library.Implementation)} already, and a process can use only one MPI. Set the same value for all pools.");
        if (!string.IsNullOrEmpty(options.LibraryPath) && !Library.IsNamed(options.LibraryPath))
            throw new RmaProviderException($"LibraryPath is '{options.LibraryPath}', but this process uses {Library} already, and a process can use only one MPI. Set the same value for all pools.");
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
                $"Not all ranks of the MPI job have opened the provider within {limit.TotalSeconds:0.###} s: every rank must, because all ranks together create the window that memory is attached to. "
                + "Make sure that each rank opens a pool or a context on MpiProvider, or raise Provider:StartTimeout.");
        }
    }

    /// <summary>Starts MPI. This counts as a call into MPI like any other, so the end waits for it.</summary>
    private void Start()
    {
        Enter();
        try
        {
            JoinAll();
        }
        finally
        {
            Leave();
        }
    }

    private void JoinAll()
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
            throw new RmaProviderException($"Open MPI has no dynamic windows in a job of one rank: {HowToStart()}, or use MPICH.");
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
            Check(FinalizeHook.Set(Library, EndByApplication), "MPI_Comm_set_attr");
            Check(Library.Calls.MPI_Query_thread(&level), "MPI_Query_thread");
        }
        else
        {
            ThrowIfAlone();
            Check(Library.Calls.MPI_Init_thread(null, null, MpiConstants.MPI_THREAD_MULTIPLE, &level), "MPI_Init_thread");
            _ownsMpi = true;
            // A child would keep open the connection to the process manager that MPICH's mpirun has given this process, even after its end.
            if (Library.Implementation == MpiImplementation.Mpich && int.TryParse(NativeEnvironment.Get("PMI_FD"), out int descriptor))
                InheritableDescriptors.Close(descriptor);
            // Errors that belong to no communicator are reported to one of these.
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

    /// <summary>Throws if MPI_Init_thread of Open MPI would start its own daemon for the process, which results in a job of one rank.</summary>
    private void ThrowIfAlone()
    {
        if (Library.Implementation == MpiImplementation.OpenMpi && MpiResolver.FindStarter(NativeEnvironment.Get) is null)
        {
            throw new RmaProviderException(
                "The process was not started by mpirun, and Open MPI has no dynamic windows then. Start it with mpirun, with two ranks at least, such as 'mpirun -n 2 dotnet App.dll'; or use MPICH, which also works alone (apt-get install mpich).");
        }
    }

    /// <summary>Describes how to start a process of Open MPI so that its job has more than one rank.</summary>
    private string HowToStart() => _starter is { Implementation: MpiImplementation.Mpich } starter
        ? $"{starter.Mark} is set, which the mpirun of MPICH does; it makes each process of Open MPI a job of its own. Start the process with the mpirun of Open MPI, with two ranks at least (mpirun.openmpi -n 2, where both are installed)"
        : "start the process with mpirun, with two ranks at least (mpirun -n 2)";

    /// <summary>Duplicates the communicator of all ranks. This waits until each rank has reached this point.</summary>
    private void Duplicate(ref nint communicator)
    {
        // MPI writes to this memory when the request completes, so it must not be a field of an object, which may
        // move. It is kept if the wait is abandoned, because MPI may write to it later.
        var duplicate = (nint*)NativeMemory.AllocZeroed((nuint)sizeof(nint));
        nint request;
        Check(Library.Calls.MPI_Comm_idup(Library.World, duplicate, &request), "MPI_Comm_idup");
        if (!TryWaitFor(request, "MPI_Comm_idup", () => _isEnding))
            throw new RmaProviderException("MPI_Comm_idup was abandoned: MPI is about to be finalized, or the process is about to end, and not all ranks have called it.");
        communicator = *duplicate;
        NativeMemory.Free(duplicate);
        Check(Library.Calls.MPI_Comm_set_errhandler(communicator, Library.ErrorsReturn), "MPI_Comm_set_errhandler");
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
        const string Advice = "Open MPI 4 has dynamic windows if the ranks share a machine or an RDMA network such as InfiniBand, but not over TCP; MPICH always has them.";
        nint window;
        Check(
            Library.Calls.MPI_Win_create_dynamic(Library.NoInfo, _duplicate, &window),
            "MPI_Win_create_dynamic",
            Library.Implementation == MpiImplementation.OpenMpi ? Advice : "");
        Check(Library.Calls.MPI_Win_set_errhandler(window, Library.ErrorsReturn), "MPI_Win_set_errhandler");
        int* model = null;
        int found;
        Check(Library.Calls.MPI_Win_get_attr(window, Library.Constants.MPI_WIN_MODEL, &model, &found), "MPI_Win_get_attr");
        if (found == 0 || model == null || *model != Library.Constants.MPI_WIN_UNIFIED)
            throw new RmaProviderException("MPI can't be used: its windows are of the model MPI_WIN_SEPARATE on this system, where written bytes become visible only after a call by the target. MPI_WIN_UNIFIED is needed.");
        Check(Library.Calls.MPI_Win_lock_all(0, window), "MPI_Win_lock_all");
        _window = window;
    }
}
