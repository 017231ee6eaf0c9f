using System.Text.Json.Nodes;
using AllocTools.Regions;
using AllocTools.Ucx;
using AllocTools.Ucx.Interop;

namespace AllocTools.Doctor.Checks;

/// <summary>Checks UCX: its location, its version, the known faults of that version, and the transports that a context opens here.</summary>
internal sealed class UcxCheck() : Check("ucx")
{
    private const string TransportsName = "transports";

    public override bool RunsApart => true;

    public override IReadOnlyList<string> Names => [Name, TransportsName];

    public override IEnumerable<Finding> Run(Examination examination)
    {
        string? path = examination.Settings?.LibraryPathOf(ProviderKind.Ucx);
        if (UcxLibrary.TryLoad(path, out string reason) is not { } library)
        {
            string[] parts = reason.TrimEnd('.').Split("; ", 2);
            yield return examination.Settings is { Kind: ProviderKind.Ucx }
                ? Fail(parts[0], parts.Length == 2 ? Examination.Sentence(parts[1]) : "Correct LibraryPath in the settings")
                : Absent(path is null ? "UCX is not there (libucp.so.0)" : parts[0]);
            yield break;
        }
        string file = FileOf("libucp.so") ?? "built in";
        yield return Ok($"UCX {library.Version} ({file})", new JsonObject { ["version"] = library.Version.ToString(), ["path"] = file });
        foreach (KnownFault fault in KnownFault.Of(KnownFault.OfUcx, library.Version))
            yield return Warn($"UCX {library.Version}: {fault.What}", fault.Advice);
        yield return Open(path, examination.Settings is { Kind: ProviderKind.Ucx });
    }

    private static Finding Open(string? path, bool isNamed)
    {
        try
        {
            // With ErrorHandling = Peer, UCX would exclude shared memory.
            using IRmaContext context = new UcxProvider(new UcxOptions { LibraryPath = path, ErrorHandling = UcxErrorHandling.None }).Open();
            IReadOnlyList<string> transports = Transports((UcxContext)context);
            return new Finding(TransportsName, FindingStatus.Ok, $"UCX opens {(transports.Count == 0 ? "a context, whose transports this version can't list" : string.Join(", ", transports))}")
            {
                Facts = new JsonObject { ["transports"] = new JsonArray([.. transports.Select(static t => (JsonNode?)JsonValue.Create(t))]) },
            };
        }
        catch (RmaProviderException e)
        {
            return new Finding(TransportsName, isNamed ? FindingStatus.Problem : FindingStatus.Warning, e.Message) { Advice = "Compare UCX_TLS and UCX_NET_DEVICES in the environment with what `ucx_info -d` lists" };
        }
    }

    private static unsafe IReadOnlyList<string> Transports(UcxContext context) => UcxTransports.Of(context.Library, context.Handle);
}
