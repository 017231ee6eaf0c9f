using System.Text;
using AllocTools;
using Microsoft.Extensions.Options;
using WorkerService.Transfer;

namespace WorkerService.Application;

/// <summary>Says a failure in one line that can be printed anywhere.</summary>
internal static class ErrorLine
{
    /// <summary>What happened.</summary>
    public static string Of(Exception exception) => Clean(exception switch
    {
        AggregateException { InnerExceptions.Count: 1 } single => Of(single.InnerExceptions[0]),
        OptionsValidationException invalid => string.Join(' ', invalid.Failures),
        OperationCanceledException => "stopped before the file was through",
        RmaOperationException operation => $"The peer can't be reached, or is gone: {operation.Message}",
        UsageException or TransferException or RmaException or IOException or UnauthorizedAccessException => exception.Message,
        _ => $"{exception.GetType().Name}: {exception.Message}",
    });

    /// <summary>One line without control characters: a text may come from a peer.</summary>
    public static string Clean(string text)
    {
        var line = new StringBuilder(text.Length);
        foreach (char c in text)
        {
            if (!char.IsControl(c))
                line.Append(c);
            else if (line.Length > 0 && line[^1] != ' ')
                line.Append(' ');
        }
        return line.ToString().Trim();
    }
}
