using System.Text.Json.Nodes;
using AllocTools.Doctor.Checks;

namespace AllocTools.Doctor;

/// <summary>A single check of the examination.</summary>
/// <param name="name">The check's name in the report.</param>
internal abstract class Check(string name)
{
    /// <summary>The check's name in the report, such as <c>memlock</c>.</summary>
    public string Name => name;

    /// <summary>
    /// Whether the check runs in a separate process, because the libraries that it loads may crash, hang, or prevent
    /// another library from being loaded.
    /// </summary>
    public virtual bool RunsApart => false;

    /// <summary>The names of the check's findings in the report: its own name, and those of other things that it examines.</summary>
    public virtual IReadOnlyList<string> Names => [name];

    /// <summary>Runs the check.</summary>
    /// <returns>One or more findings; none if there is nothing to report.</returns>
    public abstract IEnumerable<Finding> Run(Examination examination);

    /// <summary>
    /// Completes the findings of a separate process with results that only one process may determine, such as whether
    /// a port can be bound for a moment.
    /// </summary>
    public virtual IReadOnlyList<Finding> Complete(IReadOnlyList<Finding> findings, Examination examination) => findings;

    /// <summary>All checks, in the order of the report.</summary>
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

    /// <summary>All names in the report, in its order.</summary>
    public static IReadOnlyList<string> AllNames { get; } = [.. All.SelectMany(static c => c.Names)];

    /// <summary>Returns the file of a library that this process has loaded (proc_pid_maps(5)); null if none is loaded.</summary>
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
