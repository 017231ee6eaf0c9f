using AllocTools.Mpi.Interop;

namespace AllocTools.Mpi;

/// <summary>Which library of MPI a process takes: the one whose mpirun has started it, or the one that is there, or the one that the options name.</summary>
internal static class MpiResolver
{
    // What mpirun, prterun, or srun with PMIx sets for a process of Open MPI, and Hydra or srun with PMI for one of MPICH.
    private static readonly string[] OpenMpiMarks = ["OMPI_COMM_WORLD_RANK", "PMIX_RANK"];
    private static readonly string[] MpichMarks = ["PMI_RANK", "PMI_FD", "PMI_PORT"];

    extension(MpiLibrary library)
    {
        /// <summary>Which implementation it is.</summary>
        public MpiImplementation Implementation => library.IsOpenMpi ? MpiImplementation.OpenMpi : MpiImplementation.Mpich;
    }

    /// <summary>How it was started.</summary>
    /// <param name="variable">Reads the environment.</param>
    /// <returns>The implementation and the variable that says so; null where no mpirun has started the process.</returns>
    public static (MpiImplementation Implementation, string Mark)? FindStarter(Func<string, string?> variable)
    {
        foreach (string mark in OpenMpiMarks)
        {
            if (!string.IsNullOrEmpty(variable(mark)))
                return (MpiImplementation.OpenMpi, mark);
        }
        foreach (string mark in MpichMarks)
        {
            if (!string.IsNullOrEmpty(variable(mark)))
                return (MpiImplementation.Mpich, mark);
        }
        return null;
    }

    /// <summary>The implementations to look for, in this order.</summary>
    public static IReadOnlyList<MpiImplementation> Candidates(MpiImplementation asked, Func<string, string?> variable) =>
        asked != MpiImplementation.Any ? [asked]
        : FindStarter(variable) is { } starter ? [starter.Implementation]
        // Alone, without mpirun, only MPICH has windows.
        : [MpiImplementation.Mpich, MpiImplementation.OpenMpi];

    /// <summary>The names of an implementation's library.</summary>
    public static string[] NamesOf(MpiImplementation implementation) =>
        implementation == MpiImplementation.OpenMpi ? ["libmpi.so.40"] : ["libmpich.so.12", "libmpi.so.12"];

    /// <summary>Loads the library.</summary>
    /// <param name="asked">The option.</param>
    /// <param name="path">The library's file; null for the usual names.</param>
    /// <param name="variable">Reads the environment.</param>
    /// <param name="load">Loads a library; null with a reason, or without one where it isn't there.</param>
    /// <param name="reason">Why there is none, and what to install; empty on success.</param>
    public static MpiLibrary? TryLoad(MpiImplementation asked, string? path, Func<string, string?> variable, MpiLoader load, out string reason)
    {
        IReadOnlyList<MpiImplementation> candidates = Candidates(asked, variable);
        string[] names = string.IsNullOrEmpty(path) ? [.. candidates.SelectMany(NamesOf)] : [path];
        List<string> reasons = [];
        foreach (string name in names)
        {
            MpiLibrary? library = load(name, out string? why);
            if (library is not null)
            {
                reason = FindReasonAgainst(library.Implementation, asked, name, variable) ?? "";
                return reason.Length == 0 ? library : null;
            }
            if (why is not null)
                reasons.Add(why);
        }
        string looked = string.IsNullOrEmpty(path)
            ? $"looked for {string.Join(" and ", names)}{ExplainStarter(variable)}"
            : $"LibraryPath is '{path}', which {(File.Exists(path) ? "is no library that can be loaded here" : "is not there")}";
        reason = $"MPI could not be loaded: {(reasons.Count > 0 ? string.Join("; ", reasons) : looked)}; {AdviceFor(candidates)}.";
        return null;
    }

    private static string? FindReasonAgainst(MpiImplementation found, MpiImplementation asked, string name, Func<string, string?> variable)
    {
        if (asked != MpiImplementation.Any && asked != found)
            return $"MPI can't be used: Implementation is {asked}, but {name} is {found}'s. Correct LibraryPath, or leave Implementation out.";
        return FindStarter(variable) is { } starter && starter.Implementation != found
            ? $"MPI can't be used: {name} is {NameOf(found)}'s, but the process was started by {NameOf(starter.Implementation)} ({starter.Mark} is set), so it would be a job of its own. Start it with {NameOf(found)}'s mpirun, or leave Implementation and LibraryPath out."
            : null;
    }

    /// <summary>The implementation's own name.</summary>
    public static string NameOf(MpiImplementation implementation) => implementation == MpiImplementation.OpenMpi ? "Open MPI" : "MPICH";

    private static string ExplainStarter(Func<string, string?> variable) =>
        FindStarter(variable) is { } starter ? $", since {NameOf(starter.Implementation)} has started the process ({starter.Mark} is set)" : "";

    private static string AdviceFor(IReadOnlyList<MpiImplementation> candidates)
    {
        string[] packages = [.. candidates.Select(static c => c == MpiImplementation.OpenMpi
            ? "'apt-get install openmpi-bin libopenmpi3' (Debian, Ubuntu) or 'dnf install openmpi' (Fedora, RHEL)"
            : "'apt-get install mpich' (Debian, Ubuntu) or 'dnf install mpich' (Fedora, RHEL)")];
        return $"install it with {string.Join(", or ", packages)}";
    }
}

/// <summary>Loads a library of MPI.</summary>
/// <param name="name">Its name or file.</param>
/// <param name="reason">Why it can't be used; null where it isn't there.</param>
internal delegate MpiLibrary? MpiLoader(string name, out string? reason);
