using System.CommandLine;
using System.CommandLine.Parsing;
using System.Globalization;
using AllocTools;
using AllocTools.Soak;
using Spectre.Console;

const int Bad = 1, Interrupted = 130;

var minutes = new Option<double>("--minutes") { Description = "how long the load goes on, such as 60 or 0.75; longer where there are too few samples by then", HelpName = "N", Required = true, CustomParser = static r => Number(r, "more than 0 and at most 10,000", static n => n is > 0 and <= 10_000) };
var fabric = new Option<string>("--fabric") { Description = "what bytes go over: a provider of libfabric such as tcp;ofi_rxm, shm, sockets, or ucx:tcp, ucx:shm", HelpName = "NAME", DefaultValueFactory = static _ => "tcp;ofi_rxm" };
var seed = new Option<int>("--seed") { Description = "of all that is random, but for the order of threads", DefaultValueFactory = static _ => 1 };
var cycle = new Option<double?>("--cycle") { Description = "how long the load goes on between two samples (default: a thirtieth of the run, from 1.5 to 10 s)", HelpName = "SECONDS", CustomParser = static r => Number(r, "between 0.1 and 600", static n => n is >= 0.1 and <= 600) };
var report = new Option<FileInfo?>("--report") { Description = "also write a report", HelpName = "FILE.md" };
var picture = new Option<FileInfo?>("--picture") { Description = "also draw each measure over time", HelpName = "FILE.svg" };
var json = new Option<FileInfo?>("--json") { Description = "also write the result as JSON", HelpName = "FILE.json" };
fabric.Validators.Add(static result => Require(result, Station.IsFabric(result.GetValueOrDefault<string>()!), $"--fabric is '{result.GetValueOrDefault<string>()}'; of UCX it must be {string.Join(" or ", Station.UcxFabrics)}."));
// A path that can't be written should not be noticed only after an hour.
foreach (Option<FileInfo?> file in new[] { report, picture, json })
    file.Validators.Add(result => Require(result, result.GetValueOrDefault<FileInfo?>() is not { Directory.Exists: false }, $"{file.Name} is '{result.GetValueOrDefault<FileInfo?>()}'; its folder must exist."));
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
    catch (Exception e) when (e is OperationCanceledException || (stopping.IsCancellationRequested && e is (RmaException or IOException)))
    {
        // The peers in a terminal are interrupted, too, so an operation with them may fail first.
        Console.Error.WriteLine("Interrupted: there is no result.");
        return Interrupted;
    }
    catch (Exception e) when (e is RmaException or IOException)
    {
        Console.Error.WriteLine($"error: {e.Message}");
        return Bad;
    }
});
// The arguments with which the program starts its peers.
var peerFabric = new Option<string>("--fabric") { Required = true };
var peer = new Command("peer") { peerFabric };
peer.Hidden = true;
peer.SetAction((parsed, _) => SoakPeer.RunAsync(parsed.GetValue(peerFabric)!));
root.Add(peer);
return await root.Parse(args).InvokeAsync(new InvocationConfiguration { ProcessTerminationTimeout = TimeSpan.FromMinutes(1) });

static double Number(ArgumentResult result, string what, Func<double, bool> isRight)
{
    string text = result.Tokens.Single().Value;
    if (double.TryParse(text, NumberStyles.Float, CultureInfo.InvariantCulture, out double number) && isRight(number))
        return number;
    result.AddError($"{((OptionResult)result.Parent!).Option.Name} is '{text}'; it must be a number that is {what}.");
    return default;
}

static void Require(OptionResult result, bool isRight, string what)
{
    if (!isRight)
        result.AddError(what);
}
