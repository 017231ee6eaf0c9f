using System.Text.Json.Nodes;
using AllocTools.Doctor.Checks;

namespace AllocTools.Doctor;

/// <summary>One thing that is examined.</summary>
/// <param name="name">Its name in the report.</param>
internal abstract class Check(string name)
{
    /// <summary>Its name in the report, such as <c>memlock</c>.</summary>
    public string Name => name;

    /// <summary>
    /// It runs in a process of its own: what it loads may crash, hang, or keep another library from being loaded.
    /// </summary>
    public virtual bool RunsApart => false;

    /// <summary>What its findings are named in the report: its own name, and what it also looks at.</summary>
    public virtual IReadOnlyList<string> Names => [name];

    /// <summary>Looks.</summary>
    /// <returns>A finding, or several; none where there is nothing to say.</returns>
    public abstract IEnumerable<Finding> Run(Examination examination);

    /// <summary>Completes what a process of its own has found by what only one process may look at, such as a port that is bound for a moment.</summary>
    public virtual IReadOnlyList<Finding> Complete(IReadOnlyList<Finding> findings, Examination examination) => findings;

    /// <summary>All of them, in the order of the report.</summary>
    public static IReadOnlyList<Check> All { get; } =
    [
        new LibfabricCheck(),
        new UcxCheck(),
        new MpiCheck("openmpi", Mpi.MpiImplementation.OpenMpi),
        new MpiCheck("mpich", Mpi.MpiImplementation.Mpich),
        new DevicesCheck(),
        new LinksCheck(),
        new MemoryLockCheck(),
        new SharedMemoryCheck(),
        new KernelCopiesCheck(),
        new MapCountCheck(),
        new OvercommitCheck(),
        new HugePagesCheck(),
        new NumaCheck(),
        new CgroupCheck(),
        new OpenFilesCheck(),
        new PortsCheck(),
        new SettingsCheck(),
        new ProviderCheck(),
    ];

    /// <summary>All names that the report has, in its order.</summary>
    public static IReadOnlyList<string> AllNames { get; } = [.. All.SelectMany(static c => c.Names)];

    /// <summary>The file of a library that this process has loaded (proc_pid_maps(5)); null where none is.</summary>
    /// <param name="name">The start of its file's name, such as <c>libfabric.so</c>.</param>
    protected static string? FileOf(string name) => !OperatingSystem.IsLinux() ? null : File.ReadLines("/proc/self/maps")
        .Where(l => l.Contains("/" + name, StringComparison.Ordinal))
        .Select(static l => l[l.IndexOf('/', StringComparison.Ordinal)..])
        .FirstOrDefault();

    protected static JsonArray ToJson(IEnumerable<string> texts) => new([.. texts.Select(static t => (JsonNode?)JsonValue.Create(t))]);

    protected Finding Ok(string message, JsonObject? facts = null) => new(Name, FindingStatus.Ok, message) { Facts = facts };

    protected Finding Absent(string message, JsonObject? facts = null) => new(Name, FindingStatus.NotApplicable, message) { Facts = facts };

    protected Finding Warn(string message, string advice, JsonObject? facts = null) => new(Name, FindingStatus.Warning, message) { Advice = advice, Facts = facts };

    protected Finding Fail(string message, string advice, JsonObject? facts = null) => new(Name, FindingStatus.Problem, message) { Advice = advice, Facts = facts };
}
