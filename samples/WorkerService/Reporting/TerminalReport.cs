using Spectre.Console;
using WorkerService.Application;
using WorkerService.Transfer;

namespace WorkerService.Reporting;

/// <summary>Reports to somebody at a terminal, or to a file or pipe: results on the standard output, one line on the standard error where it fails.</summary>
internal sealed class TerminalReport(bool isLive = false) : ITransferReport
{
    public ITransferProgress StartProgress(string fileName, long length) =>
        isLive ? NoProgress.Source : !Console.IsOutputRedirected && AnsiConsole.Profile.Capabilities.Ansi
            ? new SpectreProgress(AnsiConsole.Console, fileName, length)
            : new PlainProgress(Console.Out, fileName, length);

    public void Listening(PeerTicket ticket)
    {
        Console.Out.WriteLine($"Listening on '{ticket.Provider}'. On the sending machine: WorkerService --role sender --provider '{ticket.Provider}' --file PATH --peer TICKET, with this ticket:");
        Console.Out.WriteLine(ticket);
    }

    public void Note(string line) => Console.Error.WriteLine(line);

    public void Finished(IReadOnlyList<TransferSummary> summaries) => Console.Out.Write(SummaryText.Of(summaries));

    public void Failed(Exception exception) => Console.Error.WriteLine($"error: {ErrorLine.Of(exception)}");
}
