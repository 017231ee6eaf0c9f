using System.Text.Json.Nodes;
using AllocTools.Mpi;
using AllocTools.Mpi.Interop;

namespace AllocTools.Doctor.Checks;

/// <summary>An implementation of MPI: where it is, and its version. A process has one, so each is looked for in a process of its own.</summary>
internal sealed class MpiCheck(string name, MpiImplementation implementation) : Check(name)
{
    public override bool RunsApart => true;

    public override IEnumerable<Finding> Run(Examination examination)
    {
        string title = MpiResolver.NameOf(implementation);
        string[] names = MpiResolver.NamesOf(implementation);
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
            string path = MappedLibrary.PathOf(file) ?? file;
            yield return library.Implementation == implementation
                ? Ok($"{title} {library.Version?.ToString() ?? "of an unknown version"} ({path}){Notes(library)}", new JsonObject { ["version"] = library.Version?.ToString(), ["path"] = path })
                : Absent($"{title} is not there: {file} is {MpiResolver.NameOf(library.Implementation)}'s");
            yield break;
        }
        bool isAsked = examination.Settings is { Kind: ProviderKind.Mpi } settings && settings.MpiImplementation == implementation;
        string missing = reasons.Count > 0 ? $"{title} can't be used: {string.Join("; ", reasons)}" : $"{title} is not there ({string.Join(", ", names)})";
        yield return isAsked || reasons.Count > 0
            ? Fail(missing, $"Install it with {(implementation == MpiImplementation.OpenMpi ? "'apt-get install openmpi-bin' (Debian, Ubuntu) or 'dnf install openmpi'" : "'apt-get install mpich' (Debian, Ubuntu) or 'dnf install mpich'")} (Fedora, RHEL)")
            : Absent(missing);
    }

    private static string Notes(MpiLibrary library) => library is { IsOpenMpi: true, Version.Major: 4 }
        ? "; it attaches 64 ranges unless osc_rdma_max_attach is raised, and has no dynamic windows over TCP"
        : "";
}
