using AllocTools.Regions;

namespace AllocTools.Hosting.Tests.Support;

/// <summary>A third-party provider whose constructor has its own dependency, and none on the activation.</summary>
public sealed class RecordingProvider(Journal journal) : IRmaProvider, IDisposable
{
    public IRmaContext Open()
    {
        if (journal.OpenFails is { } failure)
            throw failure;
        journal.Add("provider opened");
        return new RecordingContext(journal, "recording");
    }

    public void Dispose() => journal.Add("provider disposed");
}
