using System.Text.Json.Nodes;
using AllocTools.Mpi;
using AllocTools.Mpi.Interop;

namespace AllocTools.Doctor.Checks;

/// <summary>
/// Checks an implementation of MPI: its location and its version. A process can have only one, so each is looked for
/// in a separate process.
/// </summary>
internal sealed class MpiCheck(string name, MpiImplementation implementation) : Check(name)
{
    public override bool RunsApart => true;

    public override IEnumerable<Finding> Run(Examination examination)
    {
        string title = MpiResolver.NameOf(implementation);
        // The implementation of a file that the settings name is known only once it is loaded.
        string[] names = examination.Settings?.LibraryPathOf(ProviderKind.Mpi) is { } path ? [path] : MpiResolver.NamesOf(implementation);
        MpiEnvironment.ApplyDefaults();
        List<string> reasons = [];
        foreach (string file in names)
        {
            if (MpiLibrary.TryLoad(file, out string? reason) is not { } library)
            {
                if (reason is not null)
                    reasons.Add(reason);
                continue;
            }
            string mapped = FileOf(Path.GetFileName(file)) ?? file;
            yield return library.Implementation == implementation
                ? Ok($"{title} {library.Version?.ToString() ?? "of an unknown version"} ({mapped}){Notes(library)}", new JsonObject { ["version"] = library.Version?.ToString(), ["path"] = mapped })
                : Absent($"{title} is not there: {file} is {MpiResolver.NameOf(library.Implementation)}'s");
            yield break;
        }
        string missing = reasons.Count > 0 ? $"{title} can't be used: {string.Join("; ", reasons)}" : $"{title} is not there ({string.Join(", ", names)})";
        // Whether MPI is available as the settings require is reported by the check provider.
        yield return reasons.Count > 0
            ? Warn(missing, $"Install it with {(implementation == MpiImplementation.OpenMpi ? "'apt-get install openmpi-bin' (Debian, Ubuntu) or 'dnf install openmpi'" : "'apt-get install mpich' (Debian, Ubuntu) or 'dnf install mpich'")} (Fedora, RHEL)")
            : Absent(missing);
    }

    private static string Notes(MpiLibrary library) => library is { IsOpenMpi: true, Version.Major: 4 }
        ? "; it attaches 64 ranges unless osc_rdma_max_attach is raised, and has no dynamic windows over TCP"
        : "";
}
