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

    /// <summary>Looks.</summary>
    /// <returns>A finding, or several; none where there is nothing to say.</returns>
    public abstract IEnumerable<Finding> Run(Examination examination);

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

    protected static JsonArray ToJson(IEnumerable<string> texts) => new([.. texts.Select(static t => (JsonNode?)JsonValue.Create(t))]);

    protected Finding Ok(string message, JsonObject? facts = null) => new(Name, FindingStatus.Ok, message) { Facts = facts };

    protected Finding Absent(string message, JsonObject? facts = null) => new(Name, FindingStatus.NotApplicable, message) { Facts = facts };

    protected Finding Warn(string message, string advice, JsonObject? facts = null) => new(Name, FindingStatus.Warning, message) { Advice = advice, Facts = facts };

    protected Finding Fail(string message, string advice, JsonObject? facts = null) => new(Name, FindingStatus.Problem, message) { Advice = advice, Facts = facts };
}
