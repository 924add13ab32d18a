// matplotlib's cividis at 13 points, for values between 0 and 1.
const CIVIDIS = "00224e0031702a3f6d434e6c575d6d6a6c717d7c78918b78a59c74bcae6cd2c060e9d34efee838"
  .match(/.{6}/g).map(hex);
const unitScale = () => (v) => {
  const at = Math.min(1, Math.max(0, v)) * (CIVIDIS.length - 1), low = Math.min(Math.floor(at), CIVIDIS.length - 2);
  return mix(CIVIDIS[low], CIVIDIS[low + 1], at - low);
};
