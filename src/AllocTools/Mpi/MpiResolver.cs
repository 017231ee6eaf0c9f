using AllocTools.Mpi.Interop;

namespace AllocTools.Mpi;

/// <summary>
/// Determines the MPI library of a process: the one whose mpirun has started it, the one that is installed, or the one
/// that the options name.
/// </summary>
internal static class MpiResolver
{
    // These are the variables that mpirun, prterun, or srun with PMIx set for a process of Open MPI, and that Hydra or
    // srun with PMI set for one of MPICH. Each implementation can be built for the other's launcher, so they only show
    // what is likely, and the options override them.
    private static readonly string[] OpenMpiMarks = ["OMPI_COMM_WORLD_RANK", "PMIX_RANK"];
    private static readonly string[] MpichMarks = ["PMI_RANK", "PMI_FD", "PMI_PORT"];

    extension(MpiLibrary library)
    {
        /// <summary>The implementation of the library.</summary>
        public MpiImplementation Implementation => library.IsOpenMpi ? MpiImplementation.OpenMpi : MpiImplementation.Mpich;
    }

    /// <summary>Determines from the environment how the process was started.</summary>
    /// <param name="variable">Reads the environment.</param>
    /// <returns>The implementation whose mpirun sets the variable, and the variable; null if mpirun has not started the process.</returns>
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

    /// <summary>Returns the implementations to look for, in order.</summary>
    public static IReadOnlyList<MpiImplementation> Candidates(MpiImplementation asked, Func<string, string?> variable) =>
        asked != MpiImplementation.Any ? [asked]
        : FindStarter(variable) is { } starter ? [starter.Implementation]
        // Only MPICH has windows in a process that was started without mpirun.
        : [MpiImplementation.Mpich, MpiImplementation.OpenMpi];

    /// <summary>Returns the names of an implementation's library.</summary>
    public static string[] NamesOf(MpiImplementation implementation) =>
        implementation == MpiImplementation.OpenMpi ? ["libmpi.so.40"] : ["libmpich.so.12", "libmpi.so.12"];

    /// <summary>Loads the library.</summary>
    /// <param name="asked">The implementation that the options name.</param>
    /// <param name="path">The library's file; null for the usual names.</param>
    /// <param name="variable">Reads the environment.</param>
    /// <param name="load">Loads a library. Returns null with a reason, or without one if it does not exist.</param>
    /// <param name="reason">Why there is no library, and what to install; empty on success.</param>
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
                bool isOther = asked != MpiImplementation.Any && asked != library.Implementation;
                reason = isOther ? $"MPI can't be used: Implementation is {asked}, but {name} is {library.Implementation}'s. Correct LibraryPath, or leave Implementation out." : "";
                return isOther ? null : library;
            }
            if (why is not null)
                reasons.Add(why);
        }
        if (reasons.Count > 0)
            reason = $"MPI could not be loaded: {string.Join("; ", reasons)}.";
        else if (string.IsNullOrEmpty(path))
            reason = ExplainMissing(candidates, variable);
        else
            reason = $"MPI could not be loaded: LibraryPath is '{path}', which {(File.Exists(path) ? "is not a library that can be loaded here" : "does not exist")}. Correct it; or leave it out, and {AdviceFor(candidates)}.";
        return null;
    }

    /// <summary>Searches for the library without loading it.</summary>
    /// <param name="variable">Reads the environment.</param>
    /// <param name="isThere">Whether the system would find a library of a name.</param>
    /// <returns>Why there is no library, and what to install; empty if there is one.</returns>
    public static string FindMissing(Func<string, string?> variable, Func<string, bool> isThere)
    {
        IReadOnlyList<MpiImplementation> candidates = Candidates(MpiImplementation.Any, variable);
        return candidates.SelectMany(NamesOf).Any(isThere) ? "" : ExplainMissing(candidates, variable);
    }

    /// <summary>Returns the implementation's own name.</summary>
    public static string NameOf(MpiImplementation implementation) => implementation == MpiImplementation.OpenMpi ? "Open MPI" : "MPICH";

    private static string ExplainMissing(IReadOnlyList<MpiImplementation> candidates, Func<string, string?> variable)
    {
        string starter = FindStarter(variable) is { } found
            ? $", because {found.Mark} is set, which {NameOf(found.Implementation)}'s mpirun does (if another one started the process, set Implementation)"
            : "";
        return $"MPI could not be loaded: looked for {string.Join(" and ", candidates.SelectMany(NamesOf))}{starter}; {AdviceFor(candidates)}.";
    }

    private static string AdviceFor(IReadOnlyList<MpiImplementation> candidates)
    {
        string[] packages = [.. candidates.Select(static c => c == MpiImplementation.OpenMpi
            ? "'apt-get install openmpi-bin' (Debian, Ubuntu) or 'dnf install openmpi' (Fedora, RHEL)"
            : "'apt-get install mpich' (Debian, Ubuntu) or 'dnf install mpich' (Fedora, RHEL)")];
        return $"install it with {string.Join(", or ", packages)}";
    }
}

/// <summary>Loads a library of MPI.</summary>
/// <param name="name">The library's name or file.</param>
/// <param name="reason">Why the library can't be used; null if it does not exist.</param>
internal delegate MpiLibrary? MpiLoader(string name, out string? reason);
