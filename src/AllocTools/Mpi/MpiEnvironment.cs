using AllocTools.Diagnostics;
using AllocTools.Interop;
using Microsoft.Extensions.Logging;

namespace AllocTools.Mpi;

/// <summary>The environment variables that MPI and its underlying libraries read when they are loaded and initialized.</summary>
/// <remarks>It is static because the environment and MPI belong to the process. Variables that the operator has set are kept.</remarks>
internal static class MpiEnvironment
{
    /// <summary>
    /// Disables the handlers for backtraces of Open MPI (SIGABRT, SIGBUS, SIGFPE, SIGSEGV), of UCX below MPICH, and of
    /// libinfinipath below libfabric, which would end a .NET process at its first NullReferenceException. Also
    /// disables UCX's hooks, which rewrite mmap and munmap in the process's code for a cache of registrations that is
    /// not needed here.
    /// </summary>
    private static readonly (string Name, string Value)[] Defaults =
    [
        ("OMPI_MCA_opal_signal", ""),
        ("UCX_ERROR_SIGNALS", ""),
        ("UCX_MEM_MMAP_HOOK_MODE", "none"),
        ("UCX_MEM_EVENTS", "n"),
        ("IPATH_NO_BACKTRACE", "1"),
    ];

    private static readonly Lock Gate = new();
    private static readonly Dictionary<string, string> SetByUs = new(StringComparer.Ordinal);
    private static bool s_wasRead;

    /// <summary>Sets the variables for signal handlers. It must be called before the library is loaded.</summary>
    public static void ApplyDefaults()
    {
        if (!OperatingSystem.IsLinux())
            return;
        lock (Gate)
        {
            if (s_wasRead)
                return;
            foreach ((string name, string value) in Defaults)
                NativeEnvironment.TrySet(name, value);
        }
    }

    /// <summary>Sets the variables from the options. It must be called before MPI is initialized.</summary>
    public static void Apply(MpiOptions options, ILogger logger)
    {
        lock (Gate)
        {
            foreach ((string name, string value) in options.Settings)
                Set_NeedsLock(name, value, logger);
        }
    }

    /// <summary>Called when MPI was initialized: settings that are applied later have no effect.</summary>
    public static void NoteRead()
    {
        lock (Gate)
            s_wasRead = true;
    }

    private static void Set_NeedsLock(string name, string value, ILogger logger)
    {
        if (SetByUs.TryGetValue(name, out string? before) && before == value)
            return;
        if (s_wasRead)
            Log.MpiSettingTooLate(logger, name, value);
        else if (NativeEnvironment.TrySet(name, value))
            SetByUs[name] = value;
        else if (before is null)
            Log.MpiSettingKept(logger, name, value);
    }
}
