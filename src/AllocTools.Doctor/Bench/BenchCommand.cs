using System.CommandLine;
using System.CommandLine.Parsing;
using System.Globalization;
using System.Net;
using System.Net.Sockets;
using System.Runtime.InteropServices;
using AllocTools.Hosting.Configuration;
using AllocTools.Validation;
using Microsoft.AspNetCore.Connections;
using Microsoft.Extensions.Options;
using Spectre.Console;

namespace AllocTools.Doctor.Bench;

/// <summary>The command <c>alloctools bench</c>, which measures a pool, an endpoint and a connection.</summary>
internal static class BenchCommand
{
    public const int DefaultPort = 9228;

    private const int MostWindow = 1024, LargestSize = 1 << 30;

    private static readonly string[] Layers = [Measurements.PoolLayer, Measurements.Endpoint, Measurements.Connection];

    private static readonly int[] DefaultSizes = [64, 256, 1 << 10, 4 << 10, 16 << 10, 64 << 10, 256 << 10, 1 << 20, 4 << 20];

    public static Command Create()
    {
        var layers = new Argument<string[]>("layer") { Description = "what to measure: pool, endpoint, connection (default: all)", Arity = ArgumentArity.ZeroOrMore };
        var listen = new Option<string?>("--listen") { Description = $"be the other side, for one measurement; any host that reaches this port meanwhile can take part in it, so give an address of a network that you trust (default: 127.0.0.1:{DefaultPort}, which only this machine reaches)", HelpName = "HOST:PORT", Arity = ArgumentArity.ZeroOrOne };
        var connect = new Option<string?>("--connect") { Description = "measure with the other side, which listens there; without either a second process is started here", HelpName = "HOST:PORT" };
        var provider = new Option<string>("--provider") { Description = "what the pool's memory is registered with", HelpName = "libfabric|ucx", DefaultValueFactory = static _ => Measurements.Libfabric };
        var fabric = new Option<string>("--fabric") { Description = "libfabric's own provider, such as tcp;ofi_rxm, shm, verbs;ofi_rxm, efa, cxi", HelpName = "NAME", DefaultValueFactory = static _ => "tcp;ofi_rxm" };
        var sizes = new Option<string?>("--sizes") { Description = "the lengths of a transfer, such as 64,\"4 KiB\",1MiB (default: 64 bytes to 4 MiB)", HelpName = "SIZE,…" };
        var iterations = new Option<int?>("--iterations") { Description = "how many iterations each row has", HelpName = "COUNT" };
        var duration = new Option<double>("--duration") { Description = "for how long each row is measured, where --iterations is not set", HelpName = "SECONDS", DefaultValueFactory = static _ => 0.3 };
        var warmUp = new Option<int>("--warmup") { Description = "how many iterations before, which are not measured", HelpName = "COUNT", DefaultValueFactory = static _ => 100 };
        var window = new Option<int>("--window") { Description = $"how many transfers are outstanding, as far as they have {BenchSettings.MostBytesOutstanding >> 20} MiB together", HelpName = "COUNT", DefaultValueFactory = static _ => 64 };
        var plot = new Option<FileInfo?>("--plot") { Description = "also write a picture", HelpName = "FILE.svg" };
        var json = new Option<bool>("--json") { Description = "report as JSON" };
        var csv = new Option<bool>("--csv") { Description = "report as CSV" };
        AllocToolsCommand.Limit(provider, "--provider", [Measurements.Libfabric, Measurements.Ucx]);
        AllocToolsCommand.Limit(layers, "The layer", Layers);
        Between(iterations, 1, BenchLength.Most);
        Between(warmUp, 0, BenchLength.Most);
        Between(window, 1, MostWindow);
        duration.Validators.Add(static result =>
        {
            if (result.GetValueOrDefault<double>() is not > 0 || result.GetValueOrDefault<double>() > BenchLength.LongestRow.TotalSeconds)
                result.AddError($"--duration must be more than 0 and at most {BenchLength.LongestRow.TotalSeconds} seconds.");
        });
        var command = new Command("bench", "Measure a pool, an endpoint and a connection between two processes, or two hosts: the columns of fabtests and ucx_perftest.")
        {
            layers, listen, connect, provider, fabric, sizes, iterations, duration, warmUp, window, plot, json, csv,
        };
        command.SetAction(async (parsed, cancellationToken) =>
        {
            string[] named = parsed.GetValue(layers) ?? [];
            bool isLibfabric = parsed.GetValue(provider) == Measurements.Libfabric;
            if (!isLibfabric && parsed.GetResult(fabric) is { Implicit: false })
                throw new UsageException("--fabric needs --provider libfabric: a fabric is libfabric's own provider.");
            var settings = new BenchSettings(
                parsed.GetValue(provider)!,
                isLibfabric ? parsed.GetValue(fabric) : null,
                named.Length == 0 ? Layers : [.. Layers.Intersect(named)],
                parsed.GetValue(sizes) is { } list ? ReadSizes(list) : DefaultSizes,
                parsed.GetValue(window));
            if (parsed.GetValue(json) && parsed.GetValue(csv))
                throw new UsageException("--json and --csv must not both be given.");
            if (parsed.GetResult(listen) is not null && parsed.GetResult(connect) is not null)
                throw new UsageException("--listen and --connect must not both be given: one host listens, and the other one connects.");
            if (parsed.GetValue(plot) is { Directory: { Exists: false } noFolder })
                throw new UsageException($"--plot is in the folder '{noFolder}', which does not exist.");
            var run = new BenchRun(settings, new BenchLength(parsed.GetValue(iterations), TimeSpan.FromSeconds(parsed.GetValue(duration)), parsed.GetValue(warmUp)));
            try
            {
                if (parsed.GetResult(listen) is not null)
                    await ServeAsync(run, settings, ReadEndPoint("--listen", parsed.GetValue(listen) ?? $"127.0.0.1:{DefaultPort}"), cancellationToken).ConfigureAwait(false);
                else
                    await MeasureAsync(run, settings, parsed.GetValue(connect), parsed.GetValue(json), parsed.GetValue(csv), parsed.GetValue(plot)).ConfigureAwait(false);
                return 0;
            }
            catch (Exception e) when (e is BenchException or RmaException or ConnectionAbortedException or ConnectionResetException or IOException or UnauthorizedAccessException or ObjectDisposedException or SocketException or TimeoutException or OptionsValidationException)
            {
                // A child does not report a failure that the other side knows of: the parent reports it, once for both.
                if (e is not BenchException { IsTold: true } || !BenchRun.IsChild)
                    await Console.Error.WriteLineAsync(AllocToolsCommand.OneLine(e.Message)).ConfigureAwait(false);
                return 1;
            }
        });
        return command;
    }

    private static async Task ServeAsync(BenchRun run, BenchSettings settings, IPEndPoint at, CancellationToken cancellationToken)
    {
        using var ending = CancellationTokenSource.CreateLinkedTokenSource(cancellationToken);
        // The end of standard input means that the parent is gone, however it ended.
        if (BenchRun.IsChild)
            _ = Task.Run(() => { while (Console.In.Read() >= 0) { } ending.Cancel(); }, CancellationToken.None);
        OtherSide other = await BenchRun.AcceptAsync(at, end => Console.WriteLine(BenchRun.IsChild ? end.ToString() : $"Listening at {end}{(IPAddress.IsLoopback(end.Address) ? ", which only this machine reaches (--listen ADDRESS:PORT for another host)" : "")}. The other side: alloctools bench {settings.Arguments} --connect {(end.Address.Equals(IPAddress.Any) ? $"HOST:{end.Port}" : end)}"), ending.Token).ConfigureAwait(false);
        await using (other.ConfigureAwait(false))
            await run.ServeAsync(other, () => Console.WriteLine($"Measuring with {other.RemoteAddress}.")).ConfigureAwait(false);
    }

    private static async Task MeasureAsync(BenchRun run, BenchSettings settings, string? connect, bool json, bool csv, FileInfo? plot)
    {
        bool isText = !json && !csv;
        string where = connect is not null ? $"between this host and {connect}" : run.IsLocal ? "this process alone" : "between two processes of this machine";
        bool hasHead = false;
        List<Row> rows;
        if (connect is null && run.IsLocal)
        {
            rows = await run.MeasureAsync(null, Show).ConfigureAwait(false);
        }
        else if (connect is null)
        {
            var child = new ChildSide();
            await using (child.ConfigureAwait(false))
            {
                IPEndPoint at = await child.GetEndPointAsync().ConfigureAwait(false);
                rows = await MeasureWithAsync(at.Address.ToString(), at.Port).ConfigureAwait(false);
            }
        }
        else
        {
            (string host, int port) = ReadHost("--connect", connect);
            rows = await MeasureWithAsync(host, port).ConfigureAwait(false);
        }
        var report = new BenchReport(settings, where, rows);
        if (json)
            Console.WriteLine(report.ToJson());
        else if (csv)
            Console.Write(report.ToCsv());
        else if (!Console.IsOutputRedirected)
            report.Draw(AnsiConsole.Console);
        if (plot is not null)
            SvgPlot.Write(plot.FullName, rows, $"{settings.Title}, {where}, window {settings.Window} ({RuntimeInformation.OSDescription})");

        async Task<List<Row>> MeasureWithAsync(string host, int port)
        {
            OtherSide other = await BenchRun.ConnectAsync(host, port).ConfigureAwait(false);
            await using (other.ConfigureAwait(false))
                return await run.MeasureAsync(other, Show).ConfigureAwait(false);
        }

        void Show(Row row)
        {
            if (!isText)
                return;
            // The head is printed with the first row, because a measurement that fails has no table.
            if (!hasHead)
            {
                Console.WriteLine($"{settings.Title}, {where}; k and m are KiB and MiB, MB are 10^6 bytes, times are of a transfer in µs.");
                Console.WriteLine(BenchReport.Head);
                hasHead = true;
            }
            Console.WriteLine(BenchReport.LineOf(row));
        }
    }

    private static int[] ReadSizes(string list)
    {
        int[] sizes = [.. list.Split(',').Select(text => ByteSize.TryParse(text, out long bytes) && bytes is > 0 and <= LargestSize
            ? (int)bytes
            : throw new UsageException($"--sizes has '{text}'; it must be {ByteSize.Format}, between 1 byte and {InWords.Bytes(LargestSize)}."))];
        return [.. sizes.Distinct().Order()];
    }

    private static IPEndPoint ReadEndPoint(string option, string text)
    {
        (string host, int port) = ReadHost(option, text);
        return IPAddress.TryParse(host, out IPAddress? address) ? new IPEndPoint(address, port)
            : throw new UsageException($"{option} is '{text}'; its host must be an address of this machine, such as 0.0.0.0 for any.");
    }

    private static (string Host, int Port) ReadHost(string option, string text)
    {
        int colon = text.LastIndexOf(':');
        bool hasPort = colon >= 0 && (text.IndexOf(':', StringComparison.Ordinal) == colon || text[..colon].EndsWith(']'));
        string host = (hasPort ? text[..colon] : text).Trim('[', ']');
        if (!hasPort)
            return (host, DefaultPort);
        return int.TryParse(text.AsSpan(colon + 1), NumberStyles.None, CultureInfo.InvariantCulture, out int port) && port <= IPEndPoint.MaxPort && host.Length > 0
            ? (host, port)
            : throw new UsageException($"{option} is '{text}'; it must be HOST:PORT, such as 10.0.0.2:{DefaultPort}.");
    }

    private static void Between<T>(Option<T> option, int least, int most) => option.Validators.Add(result =>
    {
        if (result is { Implicit: false } && (!int.TryParse(result.Tokens.Count == 1 ? result.Tokens[0].Value : "", NumberStyles.None, CultureInfo.InvariantCulture, out int value) || value < least || value > most))
            result.AddError($"{option.Name} must be a number between {InWords.Number(least)} and {InWords.Number(most)}.");
    });
}
