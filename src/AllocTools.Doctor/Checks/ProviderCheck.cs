using System.Text.Json.Nodes;
using AllocTools.Mpi;
using AllocTools.Mpi.Interop;
using AllocTools.Regions;
using AllocTools.Validation;

namespace AllocTools.Doctor.Checks;

/// <summary>
/// Checks the provider that the settings name: it is opened as a host opens it, and the pool must fit into the memory
/// that the provider can pin.
/// </summary>
internal sealed class ProviderCheck() : Check("provider")
{
    public override bool RunsApart => true;

    public override IEnumerable<Finding> Run(Examination examination)
    {
        if (examination.Settings is not { Pool: { } pool } settings)
        {
            yield return Absent(examination.Settings is null ? examination.WithoutSettings : "The settings are invalid");
            yield break;
        }
        if (settings.Kind == ProviderKind.Mpi)
        {
            MpiEnvironment.ApplyDefaults();
            yield return MpiResolver.TryLoad(settings.MpiImplementation, settings.LibraryPathOf(ProviderKind.Mpi), examination.Machine.Variable, MpiLibrary.TryLoad, out string reason) is { } library
                ? Ok($"{MpiResolver.NameOf(library.Implementation)} {library.Version} is what the settings use; it is not opened here, because only ranks of mpirun open it", new JsonObject { ["provider"] = "mpi" })
                : Fail(reason, $"Install an implementation of MPI, or correct the section Provider in {settings.Place}");
            yield break;
        }
        yield return TryOpen(settings, out RmaProviderTraits? traits);
        if (traits is null)
            yield break;
        // A pool without space for its cap fails at startup if the cap was set, and otherwise grows less.
        string[] failures = [.. SystemRules.Failures(pool, traits, examination.Limits)];
        foreach (string failure in failures)
            yield return Fail(failure, traits.LocksPages ? "Raise RLIMIT_MEMLOCK as the check memlock advises, or lower MaxRegisteredBytes" : "Lower MaxRegisteredBytes to what this machine can give");
        if (failures.Length == 0 && traits.LocksPages && SystemRules.Warning(pool, traits, examination.Limits) is { } warning)
            yield return Warn(warning, "Raise RLIMIT_MEMLOCK as the check memlock advises, or lower MaxRegisteredBytes");
    }

    /// <summary>Adds that no endpoint of the provider can open if the port of the settings can't be used.</summary>
    public override IReadOnlyList<Finding> Complete(IReadOnlyList<Finding> findings, Examination examination) =>
        findings is [{ Status: FindingStatus.Ok } opened, ..] && examination is { ListensBySettings: true, Listening: { Status: FindingStatus.Problem } port }
            ? [Fail($"{opened.Message}; but its endpoint can't open: {port.Message}", port.Advice!, opened.Facts), .. findings.Skip(1)]
            : findings;

    private Finding TryOpen(ExaminedPool settings, out RmaProviderTraits? traits)
    {
        traits = null;
        try
        {
            using IRmaContext context = settings.OpenProvider();
            traits = context.Traits;
            return Ok($"{traits.ProviderName} opens here{(traits.LibraryVersion is { } version ? $" (version {version})" : "")}: memory that it registers is {(traits.LocksPages ? "locked" : "not locked")}",
                new JsonObject { ["provider"] = traits.ProviderName, ["locksPages"] = traits.LocksPages, ["remoteAccess"] = traits.RemoteAccess, ["numaNode"] = traits.NumaNode });
        }
        catch (RmaProviderException e)
        {
            return Fail(e.Message, $"Change the section Provider in {settings.Place} to what is here; the lines of the checks libfabric, providers and ucx list it");
        }
    }
}
