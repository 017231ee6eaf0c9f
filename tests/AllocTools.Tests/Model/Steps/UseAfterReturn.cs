namespace AllocTools.Tests.Model.Steps;

/// <summary>Uses and returns again what was returned.</summary>
internal sealed record UseAfterReturn(int Buffer) : Step
{
    public override void Run(PoolModel model)
    {
        if (Pick(model.Past, Buffer) is { } lease)
            model.UseAfterReturn(lease);
    }
}
