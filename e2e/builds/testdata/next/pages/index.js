export default () => 'page'
