using System.CommandLine;
using AllocTools;
using AllocTools.Soak;
using Spectre.Console;

const int Bad = 1, Interrupted = 130;

var minutes = new Option<double>("--minutes") { Description = "how long the load goes on, such as 60 or 0.75", HelpName = "N", Required = true };
var fabric = new Option<string>("--fabric") { Description = "what bytes go over: a provider of libfabric such as tcp;ofi_rxm, shm, sockets, or ucx:tcp, ucx:shm", HelpName = "NAME", DefaultValueFactory = static _ => "tcp;ofi_rxm" };
var seed = new Option<int>("--seed") { Description = "of all that is random, but for the order of threads", DefaultValueFactory = static _ => 1 };
var cycle = new Option<double?>("--cycle") { Description = "how long the load goes on between two samples (default: a thirtieth of the run, from 1.5 to 10 s)", HelpName = "SECONDS" };
var report = new Option<FileInfo?>("--report") { Description = "also write a report", HelpName = "FILE.md" };
var picture = new Option<FileInfo?>("--picture") { Description = "also draw each measure over time", HelpName = "FILE.svg" };
var json = new Option<FileInfo?>("--json") { Description = "also write the result as JSON", HelpName = "FILE.json" };
minutes.Validators.Add(static result =>
{
    if (result.GetValueOrDefault<double>() is not (> 0 and <= 10_000))
        result.AddError("--minutes must be more than 0 and at most 10,000.");
});
cycle.Validators.Add(static result =>
{
    if (result.GetValueOrDefault<double?>() is not (null or (>= 0.1 and <= 600)))
        result.AddError("--cycle must be between 0.1 and 600 seconds.");
});
var root = new RootCommand("Loads a pool, its endpoint and its connections in all ways at once, while peers are killed and come back, and says whether anything grows.")
{
    minutes, fabric, seed, cycle, report, picture, json,
};
root.SetAction(async (parsed, stopping) =>
{
    TimeSpan length = TimeSpan.FromMinutes(parsed.GetValue(minutes));
    TimeSpan between = TimeSpan.FromSeconds(parsed.GetValue(cycle) ?? Math.Clamp(length.TotalSeconds / 30, 1.5, 10));
    try
    {
        SoakResult result = await new SoakRun(new SoakSettings(parsed.GetValue(fabric)!, length, between, parsed.GetValue(seed)), Console.Error.WriteLine).RunAsync(stopping);
        SoakReport.Print(AnsiConsole.Console, result);
        if (parsed.GetValue(json) is { } data)
            File.WriteAllText(data.FullName, result.ToJson());
        if (parsed.GetValue(picture) is { } drawing)
            SoakPicture.Write(drawing.FullName, result);
        if (parsed.GetValue(report) is { } document)
            SoakReport.Write(document.FullName, result, parsed.GetValue(picture)?.FullName);
        return result.IsGood ? 0 : Bad;
    }
    catch (Exception e) when (e is RmaException or IOException)
    {
        Console.Error.WriteLine($"error: {e.Message}");
        return Bad;
    }
    catch (OperationCanceledException)
    {
        return Interrupted;
    }
});
// What the program starts its peers with.
var peerFabric = new Option<string>("--fabric") { Required = true };
var peer = new Command("peer") { peerFabric };
peer.Hidden = true;
peer.SetAction((parsed, _) => SoakPeer.RunAsync(parsed.GetValue(peerFabric)!));
root.Add(peer);
return await root.Parse(args).InvokeAsync(new InvocationConfiguration { ProcessTerminationTimeout = TimeSpan.FromMinutes(1) });
