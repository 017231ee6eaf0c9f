using System.Text.Json.Nodes;
using AllocTools.Libfabric;
using AllocTools.Libfabric.Interop;
using AllocTools.Validation;

namespace AllocTools.Doctor.Checks;

/// <summary>Checks libfabric: its location, its version, the known faults of that version, and the providers that it offers here.</summary>
internal sealed class LibfabricCheck() : Check("libfabric")
{
    private const string ProvidersName = "providers";

    public override bool RunsApart => true;

    public override IReadOnlyList<string> Names => [Name, ProvidersName];

    public override IEnumerable<Finding> Run(Examination examination)
    {
        if (LibfabricLibrary.TryLoad(examination.Settings?.LibraryPathOf(ProviderKind.Libfabric), out string reason) is not { } library)
        {
            // The reason is a text such as "libfabric could not be loaded: looked for X; install it with Y."
            string[] parts = reason.TrimEnd('.').Split("; ", 2);
            string advice = parts.Length == 2 ? Examination.Sentence(parts[1]) : "Correct LibraryPath in the settings";
            yield return examination.Settings switch
            {
                null => Warn(parts[0], advice),
                { Kind: ProviderKind.Libfabric } => Fail(parts[0], advice),
                _ => Absent(parts[0] + "; the settings ask for another library"),
            };
            yield break;
        }
        string path = FileOf("libfabric") ?? "built in";
        yield return Ok($"libfabric {library.Version} ({path})", new JsonObject { ["version"] = library.Version.ToString(), ["path"] = path });
        foreach (KnownFault fault in KnownFault.Of(KnownFault.OfLibfabric, library.Version))
            yield return Warn($"libfabric {library.Version}: {fault.What}", fault.Advice);
        List<Offer> offers = List(library);
        foreach (Finding finding in Describe(offers))
            yield return finding;
        if (FindMissing(examination, library.Version, offers) is { } missing)
            yield return missing;
    }

    /// <summary>Returns a line for each group of similar providers: usable for RMA, or why not.</summary>
    private static IEnumerable<Finding> Describe(List<Offer> offers)
    {
        // A provider may offer several kinds of endpoint; one usable kind is enough.
        var best = offers.GroupBy(static o => o.Provider).Select(static p => (Provider: p.Key, Offers: p.Where(o => (o.Reason is null) == p.Any(static each => each.Reason is null)).ToArray())).ToArray();
        foreach (var alike in best.Where(static p => p.Offers[0].Reason is null).GroupBy(static p => Describe(p.Offers)))
        {
            Offer first = alike.First().Offers[0];
            yield return new Finding(ProvidersName, FindingStatus.Ok, $"Usable for RMA: yes: {string.Join(", ", alike.Select(static p => p.Provider))} ({alike.Key})")
            {
                Facts = new JsonObject
                {
                    ["usable"] = true,
                    ["providers"] = ToJson(alike.Select(static p => p.Provider)),
                    ["domains"] = ToJson(Domains(alike.First().Offers)),
                    ["mrMode"] = ToJson(first.MrMode),
                    ["caps"] = ToJson(first.Caps),
                    ["maxMessageBytes"] = first.LongestMessage,
                    ["keyBytes"] = first.KeySize,
                },
            };
        }
        foreach (var alike in best.Where(static p => p.Offers[0].Reason is not null).GroupBy(static p => p.Offers[0].Reason))
        {
            yield return new Finding(ProvidersName, FindingStatus.NotApplicable, $"Usable for RMA: no: {string.Join(", ", alike.Select(static p => p.Provider))}, because {alike.Key}")
            {
                Facts = new JsonObject { ["usable"] = false, ["providers"] = ToJson(alike.Select(static p => p.Provider)), ["reason"] = alike.Key },
            };
        }
    }

    private static string Describe(Offer[] offers)
    {
        Offer first = offers[0];
        string[] domains = Domains(offers);
        string longest = first.LongestMessage >= long.MaxValue ? "any length" : $"up to {InWords.Bytes((long)first.LongestMessage)}";
        return $"{(domains.Length == 1 ? "domain" : "domains")} {string.Join(", ", domains)}; mr_mode {(first.MrMode.Length == 0 ? "none" : string.Join(" ", first.MrMode))}; messages of {longest}; keys of {InWords.Count(first.KeySize, "byte", "bytes")}";
    }

    private static string[] Domains(Offer[] offers) => [.. offers.Select(static o => o.Domain).Distinct()];

    /// <summary>Finds a device for which there is no provider.</summary>
    private static Finding? FindMissing(Examination examination, Version version, IReadOnlyList<Offer> offers)
    {
        Machine machine = examination.Machine;
        (string Device, string[] Providers)[] wanted =
        [
            .. machine.List("/sys/class/infiniband").Select(d => (d, IsEfa(machine, d) ? (string[])["efa"] : ["verbs", "psm3", "opx", "ucx"])),
            .. machine.CxiDevices.Select(static d => (d, (string[])["cxi"])),
        ];
        foreach ((string device, string[] providers) in wanted)
        {
            if (offers.Any(o => o.Reason is null && providers.Any(p => o.Provider.Split(';').Contains(p))))
                continue;
            string filter = machine.Variable("FI_PROVIDER") is { Length: > 0 } value ? $"Unset FI_PROVIDER, which is '{value}'"
                : examination.LockLimit is { } limit and < (1 << 20) * 64 ? $"Raise RLIMIT_MEMLOCK, which is {InWords.Size(limit)}: a low limit makes verbs vanish"
                : $"Install a libfabric that was built with provider {providers[0]}, and the device's library (rdma-core)";
            return new Finding(ProvidersName, FindingStatus.Problem, $"The device {device} is there, but libfabric {version} offers no provider for it ({string.Join(", ", providers)})") { Advice = filter };
        }
        return null;
    }

    internal static bool IsEfa(Machine machine, string device) => device.StartsWith("efa", StringComparison.Ordinal) || machine.Read($"/sys/class/infiniband/{device}/device/vendor") == "0x1d0f";

    /// <summary>Lists libfabric's offers for RMA, and the providers that it has only for other uses.</summary>
    private static unsafe List<Offer> List(LibfabricLibrary library)
    {
        using InfoHandle hints = LibfabricDiscovery.MakeHints(library, new LibfabricOptions { Access = RmaAccess.RemoteRead | RmaAccess.RemoteWrite }, 0);
        List<Offer> offers = Ask(library, hints.Info, isForRma: true);
        HashSet<string> known = [.. offers.Select(static o => o.Provider)];
        // Without hints libfabric lists all of its providers.
        return [.. offers, .. Ask(library, null, isForRma: false).Where(o => !known.Contains(o.Provider))];
    }

    private static unsafe List<Offer> Ask(LibfabricLibrary library, fi_info* hints, bool isForRma)
    {
        List<Offer> offers = [];
        if (library.GetInfo(FiVersion.Api, null, null, 0, hints, out fi_info* list) != 0)
            return offers;
        for (fi_info* entry = list; entry != null; entry = entry->next)
        {
            offers.Add(new Offer(
                InfoHandle.Text(entry->fabric_attr->prov_name),
                InfoHandle.Text(entry->domain_attr->name),
                NamesOf((ulong)entry->domain_attr->mr_mode, MrModes),
                NamesOf(entry->caps, Caps),
                entry->ep_attr->max_msg_size,
                (int)entry->domain_attr->mr_key_size,
                isForRma ? LibfabricDiscovery.FindReasonAgainst(entry, new LibfabricOptions(), byAddress: false) : WhyNotForRma(entry)));
        }
        library.FreeInfo(list);
        return offers;
    }

    private static unsafe string WhyNotForRma(fi_info* entry) => entry->ep_attr->type switch
    {
        fi_ep_type.FI_EP_MSG => "the endpoints are connections (FI_EP_MSG); use NAME;ofi_rxm instead",
        fi_ep_type.FI_EP_DGRAM => "the endpoints send unreliable datagrams (FI_EP_DGRAM); use NAME;ofi_rxd instead",
        _ when (entry->caps & FiCaps.FI_RMA) == 0 => "there is no RMA (FI_RMA)",
        _ => "more is asked of the application than this library gives (mr_mode, threads, or access by others)",
    };

    private static string[] NamesOf(ulong bits, (string Name, ulong Bit)[] names) => [.. names.Where(n => (bits & n.Bit) != 0).Select(static n => n.Name)];

    private static readonly (string, ulong)[] MrModes =
    [
        ("FI_MR_LOCAL", FiMrMode.FI_MR_LOCAL), ("FI_MR_RAW", FiMrMode.FI_MR_RAW), ("FI_MR_VIRT_ADDR", FiMrMode.FI_MR_VIRT_ADDR),
        ("FI_MR_ALLOCATED", FiMrMode.FI_MR_ALLOCATED), ("FI_MR_PROV_KEY", FiMrMode.FI_MR_PROV_KEY), ("FI_MR_MMU_NOTIFY", FiMrMode.FI_MR_MMU_NOTIFY),
        ("FI_MR_RMA_EVENT", FiMrMode.FI_MR_RMA_EVENT), ("FI_MR_ENDPOINT", FiMrMode.FI_MR_ENDPOINT), ("FI_MR_HMEM", FiMrMode.FI_MR_HMEM),
        ("FI_MR_COLLECTIVE", FiMrMode.FI_MR_COLLECTIVE),
    ];

    private static readonly (string, ulong)[] Caps =
    [
        ("FI_MSG", FiCaps.FI_MSG), ("FI_RMA", FiCaps.FI_RMA), ("FI_TAGGED", FiCaps.FI_TAGGED), ("FI_READ", FiCaps.FI_READ), ("FI_WRITE", FiCaps.FI_WRITE),
        ("FI_REMOTE_READ", FiCaps.FI_REMOTE_READ), ("FI_REMOTE_WRITE", FiCaps.FI_REMOTE_WRITE), ("FI_HMEM", FiCaps.FI_HMEM),
    ];

    private sealed record Offer(string Provider, string Domain, string[] MrMode, string[] Caps, ulong LongestMessage, int KeySize, string? Reason);
}
