using System.Text.Json.Nodes;
using AllocTools.Validation;

namespace AllocTools.Doctor.Checks;

/// <summary>Checks the settings, read as a host reads them, and reports what the pool would register.</summary>
internal sealed class SettingsCheck() : Check("settings")
{
    private const string Usual = "appsettings.json";

    public override IEnumerable<Finding> Run(Examination examination)
    {
        if (examination.SettingsFault is { } fault)
        {
            yield return Fail(fault, "Correct the file; a program that reads it does not start");
            yield break;
        }
        if (examination.Settings is not { } settings)
        {
            yield return Absent(File.Exists(Usual) ? $"No settings were given, and this folder has {Usual}: `--settings {Usual}` examines it, too" : examination.WithoutSettings);
            yield break;
        }
        foreach (string failure in settings.Failures)
            yield return Fail(failure, $"Correct it in {settings.Place}; docs/configuration.md has every option");
        if (settings.Pool is not { } pool)
            yield break;
        long start = SystemRules.StartBytes(pool, pool.HugePages == RmaHugePages.Explicit ? examination.Limits.HugePageSize : Environment.SystemPageSize);
        var facts = new JsonObject { ["startBytes"] = start, ["capBytes"] = pool.MaxRegisteredBytes, ["slabsAtCap"] = settings.SlabsAt(pool.MaxRegisteredBytes) };
        yield return Ok($"{settings.Place} is valid: the pool registers {InWords.Size(start)} at its start, and up to {InWords.Bytes(pool.MaxRegisteredBytes)}", facts);
        if (SystemRules.Warning(pool, traits: null, examination.Limits) is { } warning)
            yield return Warn(warning, "Lower MaxRegisteredBytes to what this machine can give");
    }
}
