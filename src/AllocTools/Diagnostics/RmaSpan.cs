using System.Diagnostics;
using Microsoft.Extensions.Logging;

namespace AllocTools.Diagnostics;

/// <summary>A span, or none; see <see cref="ListenerFailures"/>.</summary>
internal readonly struct RmaSpan(Activity? activity, ILogger logger) : IDisposable
{
    /// <summary>Sets the error that the span ends with.</summary>
    public void Fail(Exception error)
    {
        activity?.SetTag(RmaTags.ErrorType, RmaTags.ErrorTypeOf(error));
        activity?.SetStatus(ActivityStatusCode.Error, error.Message);
    }

    /// <summary>Ends the span.</summary>
    public void Dispose()
    {
        try
        {
            activity?.Dispose();
        }
        catch (Exception e)
        {
            ListenerFailures.Report(logger, e);
        }
    }
}
